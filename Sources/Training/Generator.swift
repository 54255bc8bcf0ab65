import Layers
import Models
import Paging

/// Generates sequences with the weights of a store: a group of sequences at a time, all their beams
/// in every step, so that an expert is paged once a step for all that it is to compute.
///
///     encoder    whole sources of the group, once
///     decoder    whole prompts (with an encoder: a start token), then a token of each beam a step
package struct Generator: ~Copyable {
  package let limits: GenerationLimits
  private let model: Transformer
  private let cache: DecodingCache
  private let options: StepOptions
  private var pager: Pager

  /// From the disk so far, the dense part included.
  package var bytesRead: Int { pager.counters.bytesRead }

  /// - Parameter model: of the last committed generation, and as large as `limits` needs.
  init(
    pager: consuming Pager, model: Transformer, options: StepOptions, limits: GenerationLimits
  ) {
    (self.limits, self.model, self.options) = (limits, model, options)
    cache = DecodingCache(model.description, limits.cache(model.description))
    self.pager = pager
  }

  /// All hypotheses of each request, best first: one without beams.
  /// - Throws: `GenerationError` for requests beyond the limits and numbers that are none;
  ///   `StorageError`; `TrainingError.stopped` when `isStopping` says so between two groups.
  package mutating func generate(
    _ requests: [GenerationRequest], _ options: GenerationOptions,
    isStopping: () -> Bool = { false }
  ) throws -> [[GeneratedSequence]] {
    precondition(options.method.beams <= limits.beams, "as many beams as there is memory for")
    for (index, request) in requests.enumerated() { try check(request, index) }
    var results: [[GeneratedSequence]] = []
    while results.count < requests.count {
      if isStopping() { throw TrainingError.stopped }
      results += try generate(group(requests[results.count...]), options)
    }
    return results
  }

  private func check(_ request: GenerationRequest, _ index: Int) throws(GenerationError) {
    guard !request.prompt.isEmpty else { throw .emptyPrompt(request: index) }
    guard request.prompt.count <= limits.promptTokens else {
      throw .longPrompt(
        request: index, tokens: request.prompt.count, limit: limits.promptTokens)
    }
    guard 1...limits.newTokens ~= request.newTokensMax else {
      throw .newTokens(request: index, tokens: request.newTokensMax, limit: limits.newTokens)
    }
    let vocabulary = model.description.vocabulary
    for token in request.prompt + [request.firstToken].compactMap({ $0 }) {
      guard 0..<vocabulary ~= Int(token) else {
        throw .unknownToken(request: index, token: Int(token), vocabulary: vocabulary)
      }
    }
  }

  /// The first requests, as many as fit.
  private func group(_ requests: ArraySlice<GenerationRequest>) -> ArraySlice<GenerationRequest> {
    var rows = 0
    return requests.prefix(limits.sequences).prefix { request in
      rows += request.prompt.count + (request.firstToken == nil ? 0 : 1)
      return rows <= limits.rows
    }
  }

  /// What a beam enters in the next step.
  private struct Entry {
    let sequence: Int
    let slot: Int
    let tokens: [Int32]
    /// New tokens so far.
    let position: Int
  }

  private mutating func generate(
    _ requests: ArraySlice<GenerationRequest>, _ options: GenerationOptions
  ) throws -> [[GeneratedSequence]] {
    let group = Array(requests)
    try read(group)
    var searches = group.map { SequenceSearch($0, options) }
    var entries = zip(group.indices, searches).filter { !$1.live.isEmpty }.map { index, search in
      Entry(
        sequence: index, slot: cache.slots(of: index).lowerBound,
        tokens: beginning(group[index], options), position: search.live[0].tokens.count)
    }
    while !entries.isEmpty {
      let choices = try step(entries, group, options)
      if let broken = choices.firstIndex(where: \.isEmpty) {
        throw GenerationError.notANumber(
          request: requests.startIndex + entries[broken].sequence)
      }
      // The beams of a sequence lie together.
      var rest = entries[...]
      entries = []
      while let sequence = rest.first?.sequence {
        let beams = rest.prefix { $0.sequence == sequence }
        searches[sequence].advance(Array(choices[beams.indices]))
        entries += continued(searches[sequence], sequence, slots: beams.map(\.slot))
        rest = rest[beams.endIndex...]
      }
    }
    return searches.map(\.ended)
  }

  /// The encoder's sweep, where there is one.
  private mutating func read(_ group: [GenerationRequest]) throws {
    var batch = PackedBatch()
    if model.description.encoder != nil {
      var start = 0
      let sequences = group.map { request in
        defer { start += request.prompt.count }
        return start..<start + request.prompt.count
      }
      batch.source.append(
        tokens: group.flatMap(\.prompt), sequences: sequences, tasks: group.compactMap(\.task))
    }
    model.embed(batch, step: 0, mode: .generation)
    for layer in model.layers(.encoder) {
      model.attendForward(layer)
      try pager.forwardExperts(of: layer, model, options)
    }
    model.startDecoding(cache)
  }

  /// What the decoder is given before it chooses anything.
  private func beginning(
    _ request: GenerationRequest, _ options: GenerationOptions
  ) -> [Int32] {
    let prompt = model.description.encoder == nil ? request.prompt : [options.startToken]
    return prompt + [request.firstToken].compactMap { $0 }
  }

  /// One step of all sequences and beams.
  private mutating func step(
    _ entries: [Entry], _ group: [GenerationRequest], _ options: GenerationOptions
  ) throws -> [[TokenChoice]] {
    let step = model.embedStep(entries.map { ($0.slot, $0.tokens) }, cache)
    for layer in model.layers(.decoder) {
      model.attendStep(layer, step, cache)
      try pager.forwardExperts(of: layer, model, self.options)
    }
    let keys = entries.map { (number: group[$0.sequence].number, position: $0.position) }
    let width = SequenceSearch.width(options)
    return model.choices(after: step) { run, logits in
      guard case .sampling(let sampler) = options.method else {
        return TokenChoice.likeliest(width, of: logits)
      }
      let (number, position) = keys[run]
      let choice = sampler.draw(logits, sequence: number, position: position)
      return [choice].compactMap { $0 }
    }
  }

  /// What the hypotheses of a search that go on enter next, each in a slot of the cache with its
  /// past.
  /// - Parameter slots: of the hypotheses before.
  private func continued(
    _ search: SequenceSearch, _ sequence: Int, slots: [Int]
  ) -> [Entry] {
    let slots = cache.branch(sequence, from: search.parents.map { slots[$0] })
    return zip(search.live, slots).map { hypothesis, slot in
      Entry(
        sequence: sequence, slot: slot, tokens: hypothesis.tokens.suffix(1),
        position: hypothesis.tokens.count)
    }
  }
}

/// A request that cannot be done.
package enum GenerationError: Error, Equatable, Sendable, CustomStringConvertible {
  case emptyPrompt(request: Int)
  case longPrompt(request: Int, tokens: Int, limit: Int)
  case newTokens(request: Int, tokens: Int, limit: Int)
  case unknownToken(request: Int, token: Int, vocabulary: Int)
  case notANumber(request: Int)

  package var description: String {
    switch self {
    case .emptyPrompt(let request):
      "prompt \(request + 1) is empty; begin it with the model's begin token"
    case .longPrompt(let request, let tokens, let limit):
      "prompt \(request + 1) has \(tokens) tokens, there is room for \(limit); shorten it, or "
        + "raise --max-prompt-tokens"
    case .newTokens(let request, let tokens, let limit):
      "prompt \(request + 1) asks for \(tokens) new tokens, not for 1 to \(limit)"
    case .unknownToken(let request, let token, let vocabulary):
      "prompt \(request + 1) has the token \(token), the model knows 0..<\(vocabulary); "
        + "use the tokenizer of the model"
    case .notANumber(let request):
      "what the model makes of prompt \(request + 1) is not a number; its weights are damaged"
    }
  }
}

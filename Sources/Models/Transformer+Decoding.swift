package import Kernels
import Layers

/// What one step of a generation enters: for each run of rows the slot of the cache it continues,
/// and the position of its first token.
package struct DecodingStep: Sendable {
  package let slots: [Int]
  package let runs: [Range<Int>]
  package let starts: [Int]
  /// Where the cache keeps the keys and values of each run.
  let places: [Range<Int>]
  /// All that the queries of each run look at.
  let keys: [Range<Int>]
}

/// Generation: all tokens of a prompt in one step, then one at a time. The encoder and the experts
/// run as in training; the attentions of the decoder look into the cache. Sequences of any lengths
/// are in one step without padding.
extension Transformer {
  /// After the encoder, or at once for a decoder alone: an empty cache, but for the keys and values
  /// that every cross-attention will look at.
  package func startDecoding(_ cache: DecodingCache) {
    cache.clear()
    encoderToDecoder()
    for layer in description.decoder.layers {
      guard let cross = layer.crossAttention else { continue }
      project(
        memory, memoryProjection(cross), into: cache.cross[layer.index].rows(0..<memory.rows))
    }
  }

  /// Enters the next tokens of some slots. Of what is entered, every layer is to be computed.
  package func embedStep(
    _ entries: [(slot: Int, tokens: [Int32])], _ cache: DecodingCache
  ) -> DecodingStep {
    precondition(Set(entries.map { $0.slot }).count == entries.count, "a slot has one run")
    var next = 0
    let runs = entries.map { entry in
      precondition(!entry.tokens.isEmpty, "a run has tokens")
      defer { next += entry.tokens.count }
      return next..<next + entry.tokens.count
    }
    precondition(next <= activations.limits.rows, "the step fits the model")
    let starts = entries.map { cache.length(of: $0.slot) }
    let places = entries.map { cache.extend($0.slot, by: $0.tokens.count) }
    let step = DecodingStep(
      slots: entries.map { $0.slot }, runs: runs, starts: starts, places: places,
      keys: entries.map { cache.rows(of: $0.slot) })
    let tokens = entries.flatMap { $0.tokens }
    let tasks = batch.source.tasks
    setTarget(
      tokens, sequences: runs,
      tasks: tasks.isEmpty ? [] : entries.map { tasks[cache.sequence(of: $0.slot)] })
    embedding.forward(
      tokens, table: weights(description.embedding.table), sequences: runs, starts: starts,
      into: boundary(.decoder, 0), on: workers)
    return step
  }

  /// The attentions and the dense FFN of `layer` for one step.
  package func attendStep(
    _ layer: LayerDescription, _ step: DecodingStep, _ cache: DecodingCache
  ) {
    let first = firstBoundary(layer)
    selfAttentionStep(layer, step, cache, first)
    if let cross = layer.crossAttention {
      let sources = step.slots.map { batch.source.keys[cache.sequence(of: $0)] }
      crossAttentionStep(cross, cache.cross[layer.index], step, sources, first + 1)
    }
    if case .dense(let ffn) = layer.feedForward {
      feedForwardForward(layer, ffn, 0, last(layer) - 1)
    }
  }

  /// After the last layer: what `choose` makes of the logits, [1, vocabulary], that follow the last
  /// token of each run. It may overwrite them; runs come in any order, on any worker.
  package func choices<Choice: Sendable>(
    after step: DecodingStep, _ choose: @Sendable (_ run: Int, _ logits: Matrix) -> Choice
  ) -> [Choice] {
    let top = top(.decoder)
    let z = activations.normed.rows(0..<step.runs.count)
    let last = scratch.normed.rows(0..<step.runs.count)
    gatherRows(top, step.runs.map { Int32($0.upperBound - 1) }, into: last, on: workers)
    norm(description.decoder.finalNorm, last, into: z)
    return head.map(z, embedding: weights(description.head.weight), on: workers, choose)
  }

  private func selfAttentionStep(
    _ layer: LayerDescription, _ step: DecodingStep, _ cache: DecodingCache, _ index: Int
  ) {
    let slots = layer.selfAttention
    let (x, y) = (boundary(.decoder, index), boundary(.decoder, index + 1))
    let h = scratch.normed.rows(0..<x.rows)
    let parts = Parts(scratch.qkv.rows(0..<x.rows), slots.shape)
    let context = scratch.context(x.rows, slots.shape)
    norm(slots.norm, x, into: h)
    project(h, slots.input, into: parts.all)
    position(parts, slots, step.runs, starts: step.starts)
    let cached = KeysValues(cache.own[layer.index], slots.shape)
    for (run, place) in zip(step.runs, step.places) {
      cached.k.rows(place).copy(from: parts.k.rows(run))
      cached.v.rows(place).copy(from: parts.v.rows(run))
    }
    let spans = zip(step.runs, step.keys).map { AttentionSpan(queries: $0, keys: $1) }
    attention(slots).forward(
      parts.q, cached.k, cached.v, spans: spans, isCausal: true, bias: positionBias(.decoder),
      into: context)
    y.copy(from: x)
    addProjected(context, slots.output, to: y)
  }

  private func crossAttentionStep(
    _ slots: AttentionDescription, _ cached: Matrix, _ step: DecodingStep,
    _ sources: [Range<Int>], _ index: Int
  ) {
    let (x, y) = (boundary(.decoder, index), boundary(.decoder, index + 1))
    let h = scratch.normed.rows(0..<x.rows)
    let q = scratch.qkv.rows(0..<x.rows).columns(0..<slots.shape.queryColumns)
    let context = scratch.context(x.rows, slots.shape)
    norm(slots.norm, x, into: h)
    project(h, slots.input, into: q)
    let spans = zip(step.runs, sources).map { AttentionSpan(queries: $0, keys: $1) }
    let kv = KeysValues(cached, slots.shape)
    attention(slots).forward(q, kv.k, kv.v, spans: spans, isCausal: false, into: context)
    y.copy(from: x)
    addProjected(context, slots.output, to: y)
  }
}

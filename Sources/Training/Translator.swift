import Base
package import Corpus
import Kernels
import Models
import Paging
import Storage

/// Translates with the last committed generation of a run: greedy, a batch of sentences at a time,
/// experts paged from the run's store under a memory ceiling of its own.
package struct Translator: ~Copyable {
  package let corpus: ParallelCorpus
  package let tokenizer: Tokenizer
  private let model: Transformer
  private let cache: DecodingCache
  private let options: StepOptions
  private let maxTokens: Int
  private var pager: Pager
  private let pin: ThreadPin?

  /// Sentences generated together, and their source tokens together.
  private static let sentencesAtOnce = 32
  private static let sourceRows = 2048

  /// - Throws: `TrainingError.nothingToResume` when the run has committed nothing yet.
  package init(_ run: RunDirectory, _ config: RunConfig, memory: Int) throws {
    let corpus = try ParallelCorpus.open(config.data.corpus)
    let geometry = try RunGeometry(config, vocabulary: corpus.vocabularySize)
    let limits = Self.limits(config)
    let plan = try Self.plan(config, geometry, memory: memory)
    let ledger = MemoryLedger(ceiling: memory)
    for grant in plan.fixed { try ledger.grant(grant.name, bytes: grant.bytes) }

    // Threads start where their maker may run: pinned first, the disk's stay beside its memory.
    let nodes = NodeUse(config)
    let pin = nodes.pinCaller()
    let store = try config.storedRun(in: run)
    guard store.generation != nil else { throw TrainingError.nothingToResume(path: run.path) }
    let workers = Workers(count: geometry.threads, groups: nodes.workerGroups)
    var pager = try Pager(
      store: store, frames: plan.frames,
      sharing: nodes.sharing(plan, geometry.record, workers), ledger: ledger)
    let dense = DenseParameters(
      geometry.description.layout, count: geometry.dense.paddedCount, training: false)
    try geometry.dense.load(dense, &pager)

    let tokenizer = try corpus.tokenizer()

    self.corpus = corpus
    self.pager = pager
    self.tokenizer = tokenizer
    self.pin = pin
    options = StepOptions(config)
    maxTokens = config.data.max_sequence_tokens
    model = Transformer(
      geometry.description, dense: dense, limits: limits,
      smoothing: Float(config.training.label_smoothing_factor),
      training: false, workers: workers)
    cache = DecodingCache(
      geometry.description, sentences: Self.sentencesAtOnce, positions: maxTokens,
      sourceRows: limits.microBatchRows)
  }

  /// Refuses a `memory` that the run of `config` cannot be translated with, before it is trained.
  /// - Throws: `MemoryRefusal` naming the allocation that does not fit.
  static func requireMemory(_ config: RunConfig, memory: Int) throws {
    let manifest = try ParallelCorpus.readManifest(config.data.corpus)
    let geometry = try RunGeometry(config, vocabulary: manifest.vocabularySize)
    _ = try plan(config, geometry, memory: memory)
  }

  private static func limits(_ config: RunConfig) -> BatchLimits {
    BatchLimits(
      microBatches: 1, microBatchRows: max(sourceRows, config.data.max_sequence_tokens),
      sequenceRows: config.data.max_sequence_tokens, expertRows: sourceRows)
  }

  private static func plan(
    _ config: RunConfig, _ geometry: RunGeometry, memory: Int
  ) throws -> MemoryPlan {
    try MemoryPlan(
      ceiling: memory, fixed: try fixedMemory(config, geometry, limits(config)),
      geometry: geometry.record, blocks: geometry.blocks, resident: false)
  }

  private static func fixedMemory(
    _ config: RunConfig, _ geometry: RunGeometry, _ limits: BatchLimits
  ) throws -> [MemoryLedger.Grant] {
    return [
      .init(
        name: "program, runtime and libraries",
        bytes: MemoryPlan.runtimeBytes(threads: geometry.threads)),
      geometry.storeTables(config, isReadOnly: true),
      .init(name: "corpus", bytes: try ParallelCorpus.memory(of: config.data.corpus).peakBytes),
      .init(
        name: "dense parameters",
        bytes: DenseParameters.byteCount(count: geometry.dense.paddedCount, training: false)),
      .init(
        name: "activations",
        bytes: Transformer.byteCount(
          geometry.description, limits, training: false, workers: geometry.threads)),
      .init(
        name: "keys and values",
        bytes: DecodingCache.byteCount(
          geometry.description, sentences: sentencesAtOnce,
          positions: config.data.max_sequence_tokens,
          sourceRows: limits.microBatchRows)),
    ]
  }

  /// The language with the tag `tag`.
  /// - Throws: `TrainingError.unknownLanguage`.
  package func language(_ tag: String) throws(TrainingError) -> LanguageIndex {
    guard let index = corpus.manifest.index(of: tag) else {
      throw .unknownLanguage(tag, known: corpus.languages.map { corpus.tag($0) })
    }
    return index
  }

  /// `text` as the source side of a translation into `target`, cut to the length the model knows;
  /// `isCut` says whether anything was lost.
  package func source(
    _ text: String, to target: LanguageIndex
  ) -> (tokens: [Int32], isCut: Bool) {
    let tokens = tokenizer.encode(text)
    let kept = tokens.prefix(maxTokens - 2)
    return (
      [corpus.special.into(target)] + kept + [SpecialTokens.end], kept.count < tokens.count
    )
  }

  /// The translation of each source, in order.
  /// - Throws: `TrainingError.stopped` when `isStopping` says so between two groups of sentences.
  package mutating func translate(
    _ sources: [[Int32]], isStopping: () -> Bool = { false }
  ) throws -> [String] {
    var results: [String] = []
    while results.count < sources.count {
      if isStopping() { throw TrainingError.stopped }
      var group: [[Int32]] = []
      var rows = 0
      for source in sources[results.count...].prefix(Self.sentencesAtOnce) {
        rows += source.count
        if rows > Self.sourceRows && !group.isEmpty { break }
        group.append(source)
      }
      results += try generate(group).map { tokenizer.decode($0) }
    }
    return results
  }

  /// Target tokens of each source, without start and end.
  private mutating func generate(_ sources: [[Int32]]) throws -> [[Int32]] {
    var batch = PackedBatch()
    var start = 0
    let sequences = sources.map { source in
      defer { start += source.count }
      return start..<start + source.count
    }
    batch.source.append(tokens: Array(sources.joined()), sequences: sequences)
    model.embed(batch, step: 0, mode: .generation)
    for layer in model.layers(.encoder) {
      model.attendForward(layer)
      try pager.forwardExperts(of: layer, model, options)
    }
    model.startDecoding(cache)

    var results = [[Int32]](repeating: [], count: sources.count)
    var active = Array(sources.indices)
    var tokens = sources.map { _ in SpecialTokens.start }
    for position in 0..<maxTokens - 1 where !active.isEmpty {
      let next = try step(tokens, active: active, position: position)
      tokens = []
      active = zip(active, next).compactMap { sentence, token in
        let limit = min(maxTokens - 1, 2 * sources[sentence].count + 10)
        guard token != SpecialTokens.end, position < limit else { return nil }
        results[sentence].append(token)
        tokens.append(token)
        return sentence
      }
    }
    return results
  }

  private mutating func step(
    _ tokens: [Int32], active: [Int], position: Int
  ) throws -> [Int32] {
    model.embedStep(tokens, position: position)
    for layer in model.layers(.decoder) {
      model.attendStep(layer, active: active, position: position, cache)
      try pager.forwardExperts(of: layer, model, options)
    }
    return model.nextTokens()
  }
}

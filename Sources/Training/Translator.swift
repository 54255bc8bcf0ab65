import Base
package import Corpus
import Kernels
import Models
import Paging
import Storage

/// Translates with the last committed generation of a run: a group of sentences at a time, experts
/// paged from the run's store under a memory ceiling of its own.
package struct Translator: ~Copyable {
  package let corpus: ParallelCorpus
  package let tokenizer: Tokenizer
  private let method: GenerationOptions.Method
  private let maxTokens: Int
  private var generator: Generator
  private let pin: ThreadPin?

  /// - Throws: `TrainingError.nothingToResume` when the run has committed nothing yet.
  package init(
    _ run: RunDirectory, _ config: RunConfig, memory: Int,
    method: GenerationOptions.Method = .greedy
  ) throws {
    let corpus = try ParallelCorpus.open(config.data.corpus)
    let geometry = try RunGeometry(config, vocabulary: corpus.vocabularySize)
    let plan = try Self.plan(config, geometry, memory: memory, method)
    let ledger = MemoryLedger(ceiling: memory)
    for grant in plan.memory.fixed { try ledger.grant(grant.name, bytes: grant.bytes) }

    // Threads start where their maker may run: pinned first, the disk's stay beside its memory.
    let nodes = NodeUse(config)
    let pin = nodes.pinCaller()
    let store = try config.storedRun(in: run)
    guard store.generation != nil else { throw TrainingError.nothingToResume(path: run.path) }
    let workers = Workers(count: geometry.threads, groups: nodes.workerGroups)
    let generator = try Generator(
      geometry.description, store: store, plan, workers: workers,
      sharing: nodes.sharing(plan.memory, geometry.record, workers), ledger: ledger,
      options: StepOptions(config))
    let tokenizer = try corpus.tokenizer()

    self.corpus = corpus
    self.generator = generator
    self.tokenizer = tokenizer
    self.pin = pin
    self.method = method
    maxTokens = config.data.max_sequence_tokens
  }

  /// Refuses a `memory` that the run of `config` cannot be translated with, before it is trained.
  /// - Throws: `MemoryRefusal` naming the allocation that does not fit.
  static func requireMemory(_ config: RunConfig, memory: Int) throws {
    let manifest = try ParallelCorpus.readManifest(config.data.corpus)
    let geometry = try RunGeometry(config, vocabulary: manifest.vocabularySize)
    _ = try plan(config, geometry, memory: memory, .greedy)
  }

  private static func plan(
    _ config: RunConfig, _ geometry: RunGeometry, memory: Int,
    _ method: GenerationOptions.Method
  ) throws -> GenerationPlan {
    let tokens = config.data.max_sequence_tokens
    return try GenerationPlan(
      ceiling: memory,
      GenerationLimits(beams: method.beams, promptTokens: tokens, newTokens: tokens - 1),
      geometry.description, record: geometry.record, threads: geometry.threads,
      others: [
        .init(
          name: "program, runtime and libraries",
          bytes: MemoryPlan.runtimeBytes(threads: geometry.threads)),
        geometry.storeTables(config, isReadOnly: true),
        .init(name: "corpus", bytes: try ParallelCorpus.memory(of: config.data.corpus).peakBytes),
      ])
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
    let requests = sources.enumerated().map { index, source in
      GenerationRequest(
        prompt: source, newTokensMax: min(maxTokens - 1, 2 * source.count + 10), number: index)
    }
    let options = GenerationOptions(
      method: method, startToken: SpecialTokens.start, endTokens: [SpecialTokens.end])
    return try generator.generate(requests, options, isStopping: isStopping).map {
      tokenizer.decode($0[0].tokens)
    }
  }
}

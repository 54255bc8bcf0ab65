import Base
package import Corpus
import Kernels
import Models
import Paging
import Storage

/// Generates text with the last committed generation of a run: a group of prompts at a time, experts
/// paged from the run's store under a memory ceiling of its own.
package struct TextGenerator: ~Copyable {
  /// How much may be read and written, and how tokens are chosen.
  package struct Settings: Sendable {
    package var method = GenerationOptions.Method.greedy
    /// Most tokens of a prompt; nil: `data.max_sequence_tokens`.
    package var promptTokens: Int?
    /// Most tokens of an answer; nil: those of a prompt less one, and of a translation twice its
    /// source and ten.
    package var newTokens: Int?

    package init() {}
  }

  package struct Answer: Sendable {
    package let text: String
    package let tokens: Int
    /// The logarithm of its probability, as `GeneratedSequence.score`.
    package let score: Float
    /// Whether it ended by itself.
    package let isComplete: Bool
  }

  package let speech: ModelSpeech
  private let settings: Settings
  private var generator: Generator
  private let pin: ThreadPin?

  /// What was read of the store so far, the dense part included.
  package var bytesRead: Int { generator.bytesRead }

  /// - Throws: `TrainingError.nothingToResume` when the run has committed nothing yet;
  ///   `MemoryRefusal`; `StorageError`; what the tokenizer or the corpus do not allow.
  package init(
    _ run: RunDirectory, _ config: RunConfig, memory: Int, _ settings: Settings = Settings()
  ) throws {
    let (geometry, plan) = try Self.plan(config, memory: memory, settings)
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
    speech = try ModelSpeech(config)
    self.generator = generator
    self.pin = pin
    self.settings = settings
  }

  /// Refuses a `memory` that the run of `config` cannot be translated with, before it is trained.
  /// - Throws: `MemoryRefusal` naming the allocation that does not fit.
  static func requireMemory(
    _ config: RunConfig, memory: Int, _ settings: Settings = Settings()
  ) throws {
    _ = try plan(config, memory: memory, settings)
  }

  private static func plan(
    _ config: RunConfig, memory: Int, _ settings: Settings
  ) throws -> (RunGeometry, GenerationPlan) {
    let (corpus, tables) = try ModelSpeech.facts(config)
    let geometry = try RunGeometry(config, corpus: corpus)
    let tokens = settings.promptTokens ?? config.data.max_sequence_tokens
    let plan = try GenerationPlan(
      ceiling: memory,
      GenerationLimits(
        beams: settings.method.beams, promptTokens: tokens,
        newTokens: settings.newTokens ?? max(1, tokens - 1)),
      geometry.description, record: geometry.record, threads: geometry.threads,
      others: [
        .init(
          name: "program, runtime and libraries",
          bytes: MemoryPlan.runtimeBytes(threads: geometry.threads)),
        geometry.storeTables(config, isReadOnly: true), tables,
      ])
    return (geometry, plan)
  }

  /// The translation of the source of each pair, in order; of prompts longer than the model may read
  /// their beginning is translated.
  /// - Throws: `TrainingError.stopped` when `isStopping` says so between two groups of sentences;
  ///   `TrainingError.unknownLanguage`; `GenerationError`.
  package mutating func translate(
    _ pairs: [TextPair], isStopping: () -> Bool = { false }
  ) throws -> [Answer] {
    let limit = generator.limits.promptTokens
    let requests = try pairs.enumerated().map { index, pair in
      let prompt = try speech.prompt(pair).cut(to: limit)
      let most = min(generator.limits.newTokens, settings.newTokens ?? 2 * prompt.length + 10)
      return prompt.request(newTokensMax: most, number: index)
    }
    return try answer(requests, isStopping)
  }

  /// The translations of a zcode corpus' own tokens, without special ones, in order.
  /// - Throws: as `translate`; `TrainingError.otherTask`.
  package mutating func translate(
    tokens: [[Int32]], from source: LanguageIndex, into target: LanguageIndex,
    isStopping: () -> Bool = { false }
  ) throws -> [[Int32]] {
    let limit = generator.limits.promptTokens
    let requests = try tokens.enumerated().map { index, tokens in
      let prompt = try speech.prompt(tokens: tokens, from: source, into: target).cut(to: limit)
      let most = min(generator.limits.newTokens, settings.newTokens ?? 2 * prompt.length + 10)
      return prompt.request(newTokensMax: most, number: index)
    }
    return try generator.generate(requests, options, isStopping: isStopping).map { $0[0].tokens }
  }

  /// Whether the source of `pair` is longer than what is read of it.
  package func isCut(_ pair: TextPair) throws -> Bool {
    let prompt = try speech.prompt(pair)
    return prompt.isText && prompt.length > generator.limits.promptTokens
  }

  /// What follows each prompt.
  /// - Parameter isChat: whether prompts are questions of a conversation.
  /// - Throws: as `translate`.
  package mutating func answer(
    _ prompts: [String], isChat: Bool, isStopping: () -> Bool = { false }
  ) throws -> [Answer] {
    let requests = try prompts.enumerated().map { index, text in
      try speech.prompt(text, isChat: isChat).cut(to: generator.limits.promptTokens).request(
        newTokensMax: generator.limits.newTokens, number: index)
    }
    return try answer(requests, isStopping)
  }

  private var options: GenerationOptions {
    GenerationOptions(
      method: settings.method, startToken: speech.startToken, endTokens: speech.endTokens)
  }

  private mutating func answer(
    _ requests: [GenerationRequest], _ isStopping: () -> Bool
  ) throws -> [Answer] {
    return try generator.generate(requests, options, isStopping: isStopping).map { sequences in
      let best = sequences[0]
      return Answer(
        text: speech.text(of: best.tokens), tokens: best.tokens.count, score: best.score,
        isComplete: best.isComplete)
    }
  }
}

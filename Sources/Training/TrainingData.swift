import Base
package import Corpus
import Foundation
import Interchange
import Models
import Paging
import Tokenizers

/// What a run learns from: a prepared corpus with a tokenizer of its own, or a file of text in the
/// tokens of a published model. Batches are a pure function of seed and step.
struct TrainingData: Sendable {
  private let samples: any MicroBatchSource
  let evaluation: EvaluationSet
  let notes: [String]

  /// Reads everything into memory.
  /// - Throws: `CorpusError`, `TokenizerError`, `ConfigError`, `InterchangeError`.
  init(_ config: RunConfig) throws {
    try config.requireCorpus()
    if let model = try config.publishedModel() {
      (samples, evaluation, notes) = try Self.file(config, model)
    } else {
      (samples, evaluation, notes) = try Self.prepared(config)
    }
  }

  /// The global batch of `step`.
  func batch(step: Int, microBatches: Int) -> PackedBatch {
    PackedBatch((0..<microBatches).map { samples.microBatch(step: step, index: $0) })
  }

  private typealias Parts = (any MicroBatchSource, EvaluationSet, [String])

  private static func prepared(_ config: RunConfig) throws -> Parts {
    let corpus = try ParallelCorpus.open(config.data.corpus)
    let limits = BatchSampler.Limits(config)
    let sampler = try BatchSampler(
      corpus: corpus, mix: TaskMix(config), seed: UInt64(config.seed), limits: limits)
    let evaluation = try EvaluationSet(
      corpus, limits, maxTokens: config.evaluation.max_tokens, config)
    return (sampler, evaluation, idleExperts(config, sampler.probabilities.map(\.task)))
  }

  /// What gates by task leave idle, however long the run is: a task has as many experts as a token
  /// chooses.
  private static func idleExperts(_ config: RunConfig, _ tasks: [TrainingTask]) -> [String] {
    let model = config.model
    // Those that a pruned run has are those of its tasks.
    guard model.kept_experts.isEmpty else { return [] }
    return [("encoder", model.encoder_gate), ("decoder", model.decoder_gate)].compactMap {
      side, gate in
      let choices: Int
      switch GateChoice(gate) {
      case .token, .sentence: return nil
      case .targetLanguage: choices = Set(tasks.map(\.target)).count
      case .languagePair: choices = Set(tasks.map { [$0.source, $0.target] }).count
      }
      let used = choices * model.num_experts_per_tok
      guard used < model.num_experts else { return nil }
      return
        "the \(side)'s gates tell \(choices) tasks apart, which use \(used) of \(model.num_experts) "
        + "experts of a layer at the most: fewer model.num_experts would do"
    }
  }

  private static func file(_ config: RunConfig, _ model: PublishedModel) throws -> Parts {
    let encoder = try model.encoder(config)
    let corpus = try TextCorpus.open(
      config.data.corpus, encoder: encoder, options: TextCorpus.Options(config))
    // Steps count from 1, those of the sampler from 0.
    let sampler = try EpochSampler(
      corpus, seed: UInt64(config.seed), microBatchTokens: config.training.micro_batch_tokens,
      microBatchesPerStep: config.training.gradient_accumulation_steps)
    return (
      StepsFromOne(sampler), EvaluationSet(corpus, config), [Self.summary(of: corpus)]
    )
  }

  private static func summary(of corpus: TextCorpus) -> String {
    let counts = corpus.counts
    var text =
      "\(corpus.path): \(counts.training) examples of \(counts.trainingTokens) tokens to train on, "
      + "\(counts.heldOut) held out"
    for (count, why) in [
      (counts.tooLong, "longer than data.max_sequence_tokens"), (counts.empty, "empty"),
      (counts.reversed, "the reverse of what is held out"),
    ] where count > 0 {
      text += ", \(count) left out (\(why))"
    }
    return text
  }
}

/// Numbers the steps of a source as runs do.
private struct StepsFromOne: MicroBatchSource {
  private let source: EpochSampler

  init(_ source: EpochSampler) { self.source = source }

  func microBatch(step: Int, index: Int) -> MicroBatch {
    source.microBatch(step: step - 1, index: index)
  }
}

// MARK: Before anything is read

/// What is known of a run's data before it is read.
struct DataFacts {
  /// Of what is learned from, by content.
  let checksum: String
  /// Of a prepared one.
  let corpus: CorpusShape?
  let memory: [MemoryLedger.Grant]

  /// - Throws: `CorpusError` when there is nothing at `data.corpus`.
  init(_ config: RunConfig) throws {
    try config.requireCorpus()
    let path = config.data.corpus
    if let model = try config.publishedModel() {
      guard !DataFacts.isDirectory(path) else {
        throw ConfigError(
          key: "data.corpus", problem: "\(path) is a directory, of tokens of another tokenizer",
          remedy: "give a file of text: `pagoda corpus pairs` writes one of a prepared corpus")
      }
      checksum = String(try StableHash.of(fileAt: path), radix: 16)
      corpus = nil
      memory = [
        .init(name: "tokenizer", bytes: model.tokenizerBytes),
        .init(name: "corpus", bytes: try TextCorpus.bytesMax(of: path)),
      ]
    } else {
      let manifest = try ParallelCorpus.readManifest(path)
      let segments = manifest.languages.map(\.trainingSegments)
      checksum = manifest.checksum
      corpus = CorpusShape(manifest)
      memory = [
        .init(name: "corpus", bytes: try ParallelCorpus.memory(of: path).peakBytes),
        .init(
          name: "lists of what can be drawn",
          bytes: TaskMix(config).listBytesMax(segments: segments)),
      ]
    }
  }

  private static func isDirectory(_ path: String) -> Bool {
    var isDirectory: ObjCBool = false
    return unsafe FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
      && isDirectory.boolValue
  }
}

extension StableHash {
  /// Of the contents of a file, read by the piece.
  fileprivate static func of(fileAt path: String) throws(CorpusError) -> UInt64 {
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw .unreadable(path: path, cause: "cannot be opened")
    }
    var hash: UInt64 = 0
    do {
      while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty {
        hash = combine(hash, of(piece))
      }
    } catch {
      throw .unreadable(path: path, cause: "\(error)")
    }
    return hash
  }
}

extension PublishedModel {
  /// Heap of the tokenizer: its tables are some times as large as its files.
  var tokenizerBytes: Int {
    let files = Self.smallFiles.dropFirst().reduce(0) { sum, name in
      let attributes = try? FileManager.default.attributesOfItem(atPath: "\(folder)/\(name)")
      return sum + (attributes?[.size] as? Int ?? 0)
    }
    return (16 << 20) + 16 * files
  }

  /// What the decoder begins with where there is an encoder.
  var startToken: Int32 { Int32(configuration.decoderStartToken ?? configuration.padToken ?? 0) }

  /// Text as the sequences of this model.
  /// - Throws: `TokenizerError`; `CorpusError.tokenizer` when a token is missing that is needed.
  package func encoder(_ config: RunConfig) throws -> SequenceEncoder {
    let tokenizer = try CheckpointTokenizer(folder: folder)
    let rows = configuration.vocabularySize
    guard tokenizer.vocabularySize <= rows else {
      throw CorpusError.tokenizer(
        cause:
          "\(folder) has tokens up to \(tokenizer.vocabularySize - 1), the model knows \(rows)",
        remedy: "copy the tokenizer that belongs to the model")
    }
    let prefix = config.data.prefix
    let start = startToken
    let template = ChatTemplate(rawValue: config.data.chat_template)
    let layout: SequenceLayout
    switch family {
    case .switchTransformers: layout = .sequenceToSequence(start: start, prefix: prefix)
    case .nllbMoE: layout = .languageTagged(start: start)
    case .mixtral, .olmoe, .qwen3MoE:
      let isChat = (template ?? ChatTemplate.detect(tokenizer)) != nil
      layout = .decoderOnly(
        pairs: isChat ? .chat(prefix: prefix) : .plain(prefix: prefix), chat: template)
    }
    let languages = family == .nllbMoE ? LanguageCodes.tokens { tokenizer.id(of: $0) != nil } : [:]
    return try SequenceEncoder(tokenizer, layout: layout, languageTokens: languages)
  }
}

extension TextCorpus.Options {
  init(_ config: RunConfig) {
    self.init()
    let data = config.data
    format = TextFormat(rawValue: data.format)
    sourceLanguage = data.source_language.isEmpty ? nil : data.source_language
    targetLanguage = data.target_language.isEmpty ? nil : data.target_language
    heldOutShare = data.held_out
    maxSequenceTokens = data.max_sequence_tokens
  }
}

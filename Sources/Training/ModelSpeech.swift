import Base
package import Corpus
import Foundation
import Interchange
import Models

/// How the model of a run is spoken to: texts as the tokens it expects, and its tokens as text.
package struct ModelSpeech: Sendable {
  private enum Kind: Sendable {
    case zcode(ParallelCorpus, Tokenizer, Tasks)
    case published(SequenceEncoder, languages: Languages)
  }
  private struct Tasks: Sendable {
    /// Whether a gate looks at the source's language.
    let needsSource: Bool
    let filter: TaskFilter
  }
  private struct Languages: Sendable {
    let source: String?
    let target: String?
  }

  private let kind: Kind
  /// What a decoder behind an encoder begins with.
  let startToken: Int32
  let endTokens: [Int32]

  /// What a model is given before it answers.
  struct Prompt {
    /// Of the encoder; of a decoder alone, what it continues.
    var tokens: [Int32]
    /// What the answer begins with.
    var firstToken: Int32?
    /// What gates by task look at.
    var task: SequenceTask?
    /// Whether the prompt may lose its end without changing its meaning: all but its last token.
    var isText = false

    var length: Int { tokens.count }

    /// Its beginning and its last token, at most `limit` of them, where it is text.
    func cut(to limit: Int) -> Prompt {
      guard isText, tokens.count > limit else { return self }
      var prompt = self
      prompt.tokens = tokens.prefix(limit - 1) + tokens.suffix(1)
      return prompt
    }

    func request(newTokensMax: Int, number: Int) -> GenerationRequest {
      GenerationRequest(
        prompt: tokens, newTokensMax: newTokensMax, firstToken: firstToken, task: task,
        number: number)
    }
  }

  /// Opens the tokenizer of the run.
  /// - Throws: `CorpusError`, `TokenizerError`, `InterchangeError`.
  package init(_ config: RunConfig) throws {
    guard let model = try config.publishedModel() else {
      let corpus = try ParallelCorpus.open(config.data.corpus)
      let gates = [config.model.encoder_gate, config.model.decoder_gate]
      kind = .zcode(
        corpus, try corpus.tokenizer(),
        Tasks(
          needsSource: gates.contains(GateChoice.languagePair.rawValue),
          filter: TaskFilter(config.data.tasks)))
      (startToken, endTokens) = (SpecialTokens.start, [SpecialTokens.end])
      return
    }
    func named(_ language: String) -> String? { language.isEmpty ? nil : language }
    let encoder = try model.encoder(config)
    kind = .published(
      encoder,
      languages: Languages(
        source: named(config.data.source_language), target: named(config.data.target_language)))
    startToken = model.startToken
    let configured = model.configuration.endTokens.map { Int32($0) }
    endTokens = Array(Set(encoder.endTokens + configured)).sorted()
  }

  /// What is known before the tokenizer is opened: the corpus that zcode learned from, and the memory
  /// that the tokenizer takes.
  static func facts(
    _ config: RunConfig
  ) throws -> (corpus: CorpusShape?, memory: MemoryLedger.Grant) {
    if let model = try config.publishedModel() {
      return (nil, .init(name: "tokenizer", bytes: model.tokenizerBytes))
    }
    let path = config.data.corpus
    let manifest = try ParallelCorpus.readManifest(path)
    return (
      CorpusShape(manifest),
      .init(name: "corpus", bytes: try ParallelCorpus.memory(of: path).peakBytes)
    )
  }

  /// The prepared corpus that zcode learned from.
  package var corpus: ParallelCorpus? {
    if case .zcode(let corpus, _, _) = kind { corpus } else { nil }
  }

  /// What asks for the translation of the source of `pair`; languages that it does not name are
  /// those of the run.
  /// - Throws: `TrainingError.unknownLanguage`, `.sourceUnknown`, `.otherTask`; `CorpusError.tokenizer`.
  func prompt(_ pair: TextPair) throws -> Prompt {
    switch kind {
    case .zcode(let corpus, let tokenizer, let tasks):
      func language(_ tag: String) throws -> LanguageIndex {
        guard let language = corpus.manifest.index(of: tag) else {
          throw TrainingError.unknownLanguage(tag, known: corpus.languages.map { corpus.tag($0) })
        }
        return language
      }
      let tag = pair.targetLanguage ?? ""
      let target = try language(tag)
      // Unless a gate looks at it, a source need not say what it is.
      let named = try pair.sourceLanguage.map(language)
      guard let source = named ?? (tasks.needsSource ? nil : target) else {
        throw TrainingError.sourceUnknown(known: corpus.languages.map { corpus.tag($0) })
      }
      try Self.require(named, target, tasks, corpus)
      return Self.prompt(tokenizer.encode(pair.source), source, target, corpus)
    case .published(let encoder, let languages):
      var pair = pair
      pair.sourceLanguage = pair.sourceLanguage ?? languages.source
      pair.targetLanguage = pair.targetLanguage ?? languages.target
      return Self.prompt(try encoder.prompt(pair))
    }
  }

  /// What asks for the translation of a zcode corpus' own tokens.
  /// - Throws: `TrainingError.otherTask`; `CorpusError.tokenizer` for a published model.
  func prompt(
    tokens: [Int32], from source: LanguageIndex, into target: LanguageIndex
  ) throws -> Prompt {
    guard case .zcode(let corpus, _, let tasks) = kind else {
      throw CorpusError.tokenizer(
        cause: "a published model has other tokens than a corpus", remedy: "give it text")
    }
    try Self.require(source, target, tasks, corpus)
    return Self.prompt(tokens, source, target, corpus)
  }

  private static func prompt(
    _ text: [Int32], _ source: LanguageIndex, _ target: LanguageIndex, _ corpus: ParallelCorpus
  ) -> Prompt {
    Prompt(
      tokens: [corpus.special.into(target)] + text + [SpecialTokens.end],
      task: SequenceTask(source: source.rawValue, target: target.rawValue), isText: true)
  }

  /// - Throws: `TrainingError.otherTask` for what the run is not for.
  private static func require(
    _ source: LanguageIndex?, _ target: LanguageIndex, _ tasks: Tasks, _ corpus: ParallelCorpus
  ) throws {
    let isWanted = try tasks.filter.admitsTranslation(
      from: source, into: target, of: corpus.manifest)
    guard isWanted else {
      throw TrainingError.otherTask(
        "\(source.map { corpus.tag($0) } ?? "*")-\(corpus.tag(target))",
        tasks: tasks.filter.patterns)
    }
  }

  /// What is to be continued, or answered.
  /// - Throws: `CorpusError.tokenizer` for a model that does neither.
  func prompt(_ text: String, isChat: Bool) throws -> Prompt {
    guard case .published(let encoder, _) = kind else {
      throw CorpusError.tokenizer(
        cause: "a zcode model translates and does nothing else", remedy: "use pagoda translate")
    }
    if isChat { return Self.prompt(try encoder.prompt(chat: [ChatMessage(.user, text)])) }
    return Self.prompt(try encoder.prompt(text: text))
  }

  private static func prompt(_ prompt: SequenceEncoder.Prompt) -> Prompt {
    guard !prompt.source.isEmpty else { return Prompt(tokens: prompt.target) }
    return Prompt(
      tokens: prompt.source, firstToken: prompt.target.dropFirst().first, isText: true)
  }

  func text(of tokens: [Int32]) -> String {
    switch kind {
    case .zcode(_, let tokenizer, _): tokenizer.decode(tokens)
    case .published(let encoder, _): encoder.text(of: tokens)
    }
  }
}

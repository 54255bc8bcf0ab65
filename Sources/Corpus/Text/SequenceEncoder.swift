package import Tokenizers

/// Writes texts as the token sequences of a checkpoint: those it is trained on, and the prompts it
/// is asked with, which are their beginnings.
package struct SequenceEncoder: Sendable {
  /// What a model is given before it goes on by itself.
  package struct Prompt: Hashable, Sendable {
    /// Of the encoder; empty for a decoder alone.
    package let source: [Int32]
    /// Of the decoder, the start token included.
    package let target: [Int32]
  }

  /// An example as it is stored.
  enum Encoded: Equatable {
    case pair(source: [Int32], labels: [Int32])
    /// Of a decoder alone, see `GivenToken`.
    case continuation([Int32])
  }

  package let layout: SequenceLayout
  /// Ends every text.
  package let end: Int32
  /// How conversations are written; nil where neither the layout nor the vocabulary say.
  package let template: ChatTemplate?
  private let tokenizer: CheckpointTokenizer
  private let languageTokens: [String: String]
  /// The texts of the start token, empty where there is none, and of the end token.
  private let startText: String
  private let endText: String

  /// - Parameter languageTokens: the checkpoint's tokens for languages that the data call otherwise.
  /// - Throws: `CorpusError.tokenizer` when the vocabulary lacks a token that the layout needs.
  package init(
    _ tokenizer: CheckpointTokenizer, layout: SequenceLayout, languageTokens: [String: String] = [:]
  ) throws(CorpusError) {
    guard let end = tokenizer.special.end, let endText = tokenizer.token(of: end) else {
      throw .tokenizer(
        cause: "no token ends a text",
        remedy: "give eos_token in tokenizer_config.json, or eos_token_id in config.json")
    }
    var template: ChatTemplate?
    if case .decoderOnly(_, let named) = layout {
      template = named ?? ChatTemplate.detect(tokenizer)
    }
    for text in template.map({ $0.tokens + [$0.answerEnd(endText)] }) ?? [] {
      guard let id = tokenizer.id(of: text),
        (try? tokenizer.encode(text, addSpecialTokens: false)) == [id]
      else {
        throw .tokenizer(
          cause: "no special token \(text), which the chat template needs",
          remedy: "name another of "
            + ChatTemplate.allCases.map(\.rawValue).joined(separator: ", "))
      }
    }
    (self.tokenizer, self.layout, self.languageTokens) = (tokenizer, layout, languageTokens)
    (self.end, self.endText, self.template) = (end, endText, template)
    startText = tokenizer.special.start.flatMap(tokenizer.token(of:)) ?? ""
  }

  // MARK: Prompts

  /// What a model is given to make the target of `pair`, which is not looked at.
  /// - Throws: `CorpusError.tokenizer` for a language without a token.
  package func prompt(_ pair: TextPair) throws(CorpusError) -> Prompt {
    do throws(LineDefect) {
      switch layout {
      case .sequenceToSequence(let start, _):
        return Prompt(source: try source(pair), target: [start])
      case .languageTagged(let start):
        return Prompt(
          source: try source(pair), target: [start, try language(pair.targetLanguage)])
      case .decoderOnly(.plain, _):
        return Prompt(source: [], target: try framed(opening(pair)))
      case .decoderOnly(.chat(let prefix), _):
        return try prompt([ChatMessage(.user, prefix + pair.source)])
      }
    } catch {
      throw .tokenizer(cause: error.cause, remedy: error.remedy)
    }
  }

  /// What a model is given to go on with `text`, or of an encoder to read it.
  /// - Throws: `CorpusError.tokenizer` for a model that is told its languages.
  package func prompt(text: String) throws(CorpusError) -> Prompt {
    guard layout.isDecoderOnly else { return try prompt(TextPair(source: text, target: "")) }
    do throws(LineDefect) {
      return Prompt(source: [], target: try framed(text))
    } catch {
      throw .tokenizer(cause: error.cause, remedy: error.remedy)
    }
  }

  /// The tokens that end an answer: the end of a text, and that of a turn in conversations.
  package var endTokens: [Int32] {
    let turn = template.flatMap { tokenizer.id(of: $0.answerEnd(endText)) }
    return [end] + (turn.map { $0 == end ? [] : [$0] } ?? [])
  }

  /// The text of tokens that a model has chosen, without special ones.
  package func text(of tokens: [Int32]) -> String {
    tokenizer.decode(tokens, skipSpecialTokens: true)
  }

  /// What a model is given to answer a conversation.
  /// - Throws: `CorpusError.tokenizer` without a template, and for messages that it cannot write.
  package func prompt(chat messages: [ChatMessage]) throws(CorpusError) -> Prompt {
    do throws(LineDefect) {
      return try prompt(messages)
    } catch {
      throw .tokenizer(cause: error.cause, remedy: error.remedy)
    }
  }

  private func prompt(_ messages: [ChatMessage]) throws(LineDefect) -> Prompt {
    let template = try chatTemplate()
    let pieces = try template.pieces(messages, start: startText, end: endText)
    let text = pieces.map(\.text).joined() + template.replyOpening
    return Prompt(source: [], target: try tokens(text))
  }

  // MARK: Examples

  func encode(_ record: TextRecord) throws(LineDefect) -> Encoded {
    switch record {
    case .pair(let pair): try encode(pair)
    case .text(let text): .continuation(try document(text))
    case .chat(let messages): .continuation(try conversation(messages))
    }
  }

  /// The tokens of a document, with what the checkpoint puts around a text, and ended.
  func document(_ text: String) throws(LineDefect) -> [Int32] { try framed(text) + [end] }

  /// The tokens of `text` alone.
  func tokens(_ text: String) throws(LineDefect) -> [Int32] {
    try encode(text, addSpecialTokens: false)
  }

  /// The tokens `<extra_id_0>`, `<extra_id_1>`, … as far as the vocabulary has them.
  var sentinels: [Int32] {
    var sentinels: [Int32] = []
    while let id = tokenizer.id(of: "<extra_id_\(sentinels.count)>") { sentinels.append(id) }
    return sentinels
  }

  private func encode(_ pair: TextPair) throws(LineDefect) -> Encoded {
    switch layout {
    case .sequenceToSequence:
      return .pair(source: try source(pair), labels: try tokens(pair.target) + [end])
    case .languageTagged:
      let labels = [try language(pair.targetLanguage)] + (try tokens(pair.target)) + [end]
      return .pair(source: try source(pair), labels: labels)
    case .decoderOnly(.plain, _):
      let opening = opening(pair)
      let whole = try framed(opening + pair.target) + [end]
      return .continuation(Self.learned(whole, after: try framed(opening)))
    case .decoderOnly(.chat(let prefix), _):
      let messages = [
        ChatMessage(.user, prefix + pair.source), ChatMessage(.assistant, pair.target),
      ]
      return .continuation(try conversation(messages))
    }
  }

  private func source(_ pair: TextPair) throws(LineDefect) -> [Int32] {
    switch layout {
    case .sequenceToSequence(_, let prefix): try tokens(prefix + pair.source) + [end]
    case .languageTagged:
      [try language(pair.sourceLanguage)] + (try tokens(pair.source)) + [end]
    case .decoderOnly: []
    }
  }

  private func opening(_ pair: TextPair) -> String {
    guard case .decoderOnly(.plain(let prefix, let separator), _) = layout else { return "" }
    return prefix + pair.source + separator
  }

  private func language(_ name: String?) throws(LineDefect) -> Int32 {
    guard let name else {
      throw LineDefect(
        cause: "a text of no language, for a model that is told its languages",
        remedy: "give source_lang and target_lang in the data, or --from and --to")
    }
    let text = languageTokens[name] ?? name
    // A piece such as `de`, which is part of words, is no token of a language.
    guard let id = tokenizer.id(of: text), try tokens(text) == [id] else {
      throw LineDefect(
        cause: "no token `\(text)` for a language",
        remedy: "name languages as the checkpoint does, such as deu_Latn")
    }
    return id
  }

  // MARK: Conversations

  private func chatTemplate() throws(LineDefect) -> ChatTemplate {
    guard let template else {
      throw LineDefect(
        cause: layout.isDecoderOnly
          ? "no chat template fits the vocabulary" : "a conversation, for an encoder and a decoder",
        remedy: layout.isDecoderOnly
          ? "name one of " + ChatTemplate.allCases.map(\.rawValue).joined(separator: ", ")
          : "give pairs of source and target")
    }
    return template
  }

  /// The tokens of the whole text as one, cut where an answer ends: there stands a special token,
  /// which keeps what is before and after it apart, so that parts encode as the whole would. What
  /// comes after the last answer is left out, for nothing is learned from it.
  private func conversation(_ messages: [ChatMessage]) throws(LineDefect) -> [Int32] {
    let template = try chatTemplate()
    var (result, before, given) = ([Int32](), "", "")
    for piece in try template.pieces(messages, start: startText, end: endText) {
      guard piece.isLearned else {
        given += piece.text
        continue
      }
      let whole = Self.learned(
        try tokens(before + given + piece.text), after: try tokens(before + given))
      result += whole.dropFirst(before.isEmpty ? 0 : 1)
      (before, given) = (template.answerEnd(endText), "")
    }
    return result
  }

  /// `tokens`, of which those that `opening` begins with are given. A token across the border is
  /// learned.
  private static func learned(_ tokens: [Int32], after opening: [Int32]) -> [Int32] {
    let shared = zip(tokens, opening).prefix { $0 == $1 }.count
    return tokens[..<shared].map(GivenToken.given) + tokens[shared...]
  }

  // MARK: Tokens

  /// With the checkpoint's start, and without an end.
  private func framed(_ text: String) throws(LineDefect) -> [Int32] {
    let tokens = try encode(text, addSpecialTokens: true)
    return tokens.last == end ? tokens.dropLast() : tokens
  }

  private func encode(_ text: String, addSpecialTokens: Bool) throws(LineDefect) -> [Int32] {
    do throws(TokenizerError) {
      return try tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
    } catch {
      throw LineDefect(cause: "\(error)", remedy: "split or clean it")
    }
  }
}

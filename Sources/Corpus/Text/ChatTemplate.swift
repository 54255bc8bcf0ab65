package import Tokenizers

/// How a conversation is written for a model. The end of an answer belongs to what is learned;
/// everything else is what the model is given.
///
///     chatml    <|im_start|>user⏎Q<|im_end|>⏎<|im_start|>assistant⏎A<|im_end|>⏎
///     qwen3     the same, with <think>⏎⏎</think>⏎⏎ before the last answer, and without the
///               thoughts of earlier ones
///     mistral   <s> [INST] Q [/INST] A</s> [INST] Q [/INST] A</s>
///     tulu      <|endoftext|><|user|>⏎Q⏎<|assistant|>⏎A<|endoftext|>
///
/// (⏎ is a line feed.) The texts are those that the templates published with Qwen3, Mixtral 8x7B
/// Instruct and OLMoE Instruct make.
package enum ChatTemplate: String, CaseIterable, Codable, Sendable {
  case chatml
  case qwen3
  case mistral
  case tulu

  /// A part of a conversation, learned or given.
  struct Piece: Equatable {
    var text: String
    var isLearned = false
  }

  /// The template whose tokens a vocabulary has; nil where it has none's. Models that share a
  /// vocabulary may differ in their templates: then name it.
  package static func detect(_ tokenizer: CheckpointTokenizer) -> ChatTemplate? {
    func has(_ texts: [String]) -> Bool { texts.allSatisfy { tokenizer.id(of: $0) != nil } }
    if has(qwen3.tokens) { return .qwen3 }
    if has(chatml.tokens) { return .chatml }
    guard let end = tokenizer.special.end.flatMap(tokenizer.token(of:)) else { return nil }
    switch end {
    case "</s>" where tokenizer.special.start != nil: return .mistral
    case "<|endoftext|>": return .tulu
    default: return nil
    }
  }

  /// Tokens that a vocabulary must have beside the start and the end of a text.
  var tokens: [String] {
    switch self {
    case .chatml: ["<|im_start|>", "<|im_end|>"]
    case .qwen3: ["<|im_start|>", "<|im_end|>", "<think>", "</think>"]
    case .mistral, .tulu: []
    }
  }

  /// The token that ends an answer, of a checkpoint whose texts end in `end`.
  func answerEnd(_ end: String) -> String {
    switch self {
    case .chatml, .qwen3: "<|im_end|>"
    case .mistral, .tulu: end
    }
  }

  /// The whole conversation.
  /// - Parameters:
  ///   - start: the text of the checkpoint's start token, empty where it has none.
  ///   - end: likewise of its end token.
  func pieces(
    _ messages: [ChatMessage], start: String, end: String
  ) throws(LineDefect) -> [Piece] {
    switch self {
    case .chatml: messages.flatMap(Self.turn)
    case .qwen3: Self.thinking(messages)
    case .mistral: try Self.instructions(messages, start, end)
    case .tulu: Self.headed(messages, start, end)
    }
  }

  /// What is put after a conversation for the model to answer.
  var replyOpening: String {
    switch self {
    case .chatml: "<|im_start|>assistant\n"
    case .qwen3: "<|im_start|>assistant\n" + Self.noThoughts
    case .mistral: ""
    case .tulu: "<|assistant|>\n"
    }
  }

  // MARK: ChatML

  private static func turn(_ message: ChatMessage) -> [Piece] {
    turn(message.role, given: "", message.content)
  }

  private static func turn(
    _ role: ChatMessage.Role, given: String, _ content: String
  ) -> [Piece] {
    let head = "<|im_start|>\(role.rawValue)\n" + given
    guard role == .assistant else { return [Piece(text: head + content + "<|im_end|>\n")] }
    return [
      Piece(text: head), Piece(text: content + "<|im_end|>", isLearned: true), Piece(text: "\n"),
    ]
  }

  private static let noThoughts = "<think>\n\n</think>\n\n"

  /// Thoughts belong to the answers after the last question; the last answer has some, if empty
  /// ones, which are given and not learned.
  private static func thinking(_ messages: [ChatMessage]) -> [Piece] {
    let isQuestion = { (message: ChatMessage) in
      message.role == .user
        && !(message.content.hasPrefix("<tool_response>")
          && message.content.hasSuffix("</tool_response>"))
    }
    let lastQuestion = messages.lastIndex(where: isQuestion) ?? messages.count - 1
    return messages.enumerated().flatMap { index, message in
      guard message.role == .assistant else { return turn(message) }
      let (thoughts, answer) = split(message.content)
      let isLast = index == messages.count - 1
      guard index > lastQuestion, isLast || !thoughts.isEmpty else {
        return turn(.assistant, given: "", answer)
      }
      let content = trimmed(answer, end: false)
      guard !thoughts.isEmpty else { return turn(.assistant, given: noThoughts, content) }
      return turn(.assistant, given: "", "<think>\n\(thoughts)\n</think>\n\n\(content)")
    }
  }

  /// The thoughts of an answer, and the answer without them.
  private static func split(_ content: String) -> (thoughts: String, answer: String) {
    let parts = content.split(separator: "</think>", omittingEmptySubsequences: false)
    guard parts.count > 1, let first = parts.first, let last = parts.last else {
      return ("", content)
    }
    let thoughts = first.split(separator: "<think>", omittingEmptySubsequences: false).last ?? ""
    return (trimmed(String(thoughts)), trimmed(String(last), end: false))
  }

  /// Without line feeds at the start, and at the end where asked.
  private static func trimmed(_ text: String, end: Bool = true) -> String {
    var scalars = text.unicodeScalars.drop { $0 == "\n" }
    while end, scalars.last == "\n" { scalars.removeLast() }
    return String(scalars)
  }

  // MARK: The others

  private static func instructions(
    _ messages: [ChatMessage], _ start: String, _ end: String
  ) throws(LineDefect) -> [Piece] {
    let system = messages.first?.role == .system ? messages.first : nil
    var pieces = [Piece(text: start)]
    for (index, message) in messages.dropFirst(system == nil ? 0 : 1).enumerated() {
      guard message.role == (index % 2 == 0 ? .user : .assistant) else {
        throw LineDefect(
          cause: "two messages of one side after each other, or an answer first",
          remedy: "this template wants user and assistant in turn, after at most one system message"
        )
      }
      if message.role == .assistant {
        pieces.append(Piece(text: " " + message.content + end, isLearned: true))
      } else {
        let rules = index == 0 ? system.map { $0.content + "\n\n" } ?? "" : ""
        pieces.append(Piece(text: " [INST] " + rules + message.content + " [/INST]"))
      }
    }
    return pieces
  }

  private static func headed(
    _ messages: [ChatMessage], _ start: String, _ end: String
  ) -> [Piece] {
    var pieces = [Piece(text: start)]
    for (index, message) in messages.enumerated() {
      let head = "<|\(message.role.rawValue)|>\n"
      guard message.role == .assistant else {
        pieces.append(Piece(text: head + message.content + "\n"))
        continue
      }
      pieces.append(Piece(text: head))
      pieces.append(Piece(text: message.content + end, isLearned: true))
      if index < messages.count - 1 { pieces.append(Piece(text: "\n")) }
    }
    return pieces
  }
}

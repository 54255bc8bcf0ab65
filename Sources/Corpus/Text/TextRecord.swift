/// A text and what is to be made of it, as a file has them.
package struct TextPair: Hashable, Sendable {
  package var source: String
  package var target: String
  /// Languages by the names that the file or the options give them; nil where nobody does.
  package var sourceLanguage: String?
  package var targetLanguage: String?

  package init(
    source: String, target: String, sourceLanguage: String? = nil, targetLanguage: String? = nil
  ) {
    (self.source, self.target) = (source, target)
    (self.sourceLanguage, self.targetLanguage) = (sourceLanguage, targetLanguage)
  }
}

/// One turn of a conversation.
package struct ChatMessage: Hashable, Sendable {
  package enum Role: String, Hashable, Sendable {
    case system
    case user
    case assistant

    /// By its name in chat files, or in those of ShareGPT.
    init?(named name: String) {
      switch name {
      case "system": self = .system
      case "user", "human": self = .user
      case "assistant", "gpt": self = .assistant
      default: return nil
      }
    }
  }

  package var role: Role
  package var content: String

  package init(_ role: Role, _ content: String) {
    (self.role, self.content) = (role, content)
  }
}

/// What one line of a text file holds.
enum TextRecord: Equatable {
  case pair(TextPair)
  case text(String)
  case chat([ChatMessage])

  /// What there is to learn from; no text is an empty line, an empty side, or a conversation whose
  /// answers are all empty.
  var isEmpty: Bool {
    switch self {
    case .pair(let pair): pair.source.isBlank || pair.target.isBlank
    case .text(let text): text.isBlank
    case .chat(let messages):
      messages.allSatisfy { $0.role != .assistant || $0.content.isBlank }
    }
  }

  /// The text whose hash decides whether the example is held out: what a model is given. The first
  /// question stands for a conversation.
  var sourceText: String {
    switch self {
    case .pair(let pair): pair.source
    case .text(let text): text
    case .chat(let messages):
      (messages.first { $0.role == .user } ?? messages.first)?.content ?? ""
    }
  }
}

extension String {
  fileprivate var isBlank: Bool { unicodeScalars.allSatisfy(\.properties.isWhitespace) }
}

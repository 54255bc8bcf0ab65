/// What one sequence is for. (Not called `Task`, which is Swift's own.)
package struct TrainingTask: Hashable, Sendable {
  package enum Kind: UInt8, Sendable {
    case translate = 0
    case denoise = 1
    /// A source and its target, in languages that nobody named.
    case pair = 2
    /// Text to go on with.
    case text = 3
    /// The answers of a conversation.
    case chat = 4
  }

  package let kind: Kind
  package let source: LanguageIndex
  package let target: LanguageIndex

  package static func translate(_ source: LanguageIndex, _ target: LanguageIndex) -> TrainingTask {
    precondition(source != target, "a translation changes the language")
    return TrainingTask(kind: .translate, source: source, target: target)
  }
  package static func denoise(_ language: LanguageIndex) -> TrainingTask {
    TrainingTask(kind: .denoise, source: language, target: language)
  }

  /// Without languages, both are the first.
  init(kind: Kind, source: LanguageIndex, target: LanguageIndex) {
    (self.kind, self.source, self.target) = (kind, source, target)
  }
}

extension ParallelCorpus {
  /// `translate de-en`, `denoise fr`.
  package func name(of task: TrainingTask) -> String {
    switch task.kind {
    case .translate: "translate \(tag(task.source))-\(tag(task.target))"
    case .denoise: "denoise \(tag(task.target))"
    case .pair, .text, .chat: preconditionFailure("a parallel corpus has no such tasks")
    }
  }
}

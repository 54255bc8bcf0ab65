/// Some of the tasks of a corpus: `de-en`, `*-en` from any language, `en-*` into any, `de` for
/// denoising.
package struct TaskFilter: Equatable, Sendable {
  /// As written. None: all tasks.
  package let patterns: [String]

  package init(_ patterns: [String] = []) { self.patterns = patterns }

  /// nil in a pattern stands for any language.
  private struct Pattern {
    let source: LanguageIndex?
    let target: LanguageIndex?
    let isTranslation: Bool

    func admits(_ task: TrainingTask) -> Bool {
      isTranslation == (task.kind == .translate) && source ?? task.source == task.source
        && target ?? task.target == task.target
    }
  }

  /// Whether a task is one of them.
  /// - Throws: `CorpusError.option` for a pattern with a language that the corpus has not.
  package func admitted(
    of corpus: CorpusManifest
  ) throws(CorpusError) -> @Sendable (TrainingTask) -> Bool {
    var parsed: [Pattern] = []
    for pattern in patterns { parsed.append(try Self.parse(pattern, corpus)) }
    return { [parsed] task in parsed.isEmpty || parsed.contains { $0.admits(task) } }
  }

  /// Whether some translation into `target` is one of them; from `source`, where that is known.
  /// - Throws: as `admitted`.
  package func admitsTranslation(
    from source: LanguageIndex?, into target: LanguageIndex, of corpus: CorpusManifest
  ) throws(CorpusError) -> Bool {
    if patterns.isEmpty { return true }
    let isAdmitted = try admitted(of: corpus)
    let sources = source.map { [$0] } ?? corpus.languages.indices.map { LanguageIndex($0) }
    return sources.contains { $0 != target && isAdmitted(.translate($0, target)) }
  }

  private static func parse(
    _ text: String, _ corpus: CorpusManifest
  ) throws(CorpusError) -> Pattern {
    if let language = corpus.index(of: text) {
      return Pattern(source: language, target: language, isTranslation: false)
    }
    func side(_ tag: Substring) -> LanguageIndex?? {
      tag == "*" ? .some(nil) : corpus.index(of: String(tag)).map { .some($0) }
    }
    let sides = text.split(separator: "-", omittingEmptySubsequences: false)
    guard sides.count == 2, let source = side(sides[0]), let target = side(sides[1]) else {
      let known = corpus.languages.map(\.tag).joined(separator: ", ")
      throw .option(
        name: "tasks",
        cause: "`\(text)` is no task; write de-en, *-en, en-* or de, with languages of: \(known)")
    }
    return Pattern(source: source, target: target, isTranslation: true)
  }
}

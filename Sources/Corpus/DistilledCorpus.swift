import Foundation

/// A corpus for a student (sequence-level distillation; Kim and Rush, "Sequence-level knowledge
/// distillation", 2016): of one direction the sources are those of another corpus, and the targets what a
/// teacher made of them. Held-out text stays what people wrote.
package struct DistilledCorpus: Sendable {
  package let corpus: ParallelCorpus
  package let source: LanguageIndex
  package let target: LanguageIndex
  /// The segments of the training shard that there is something to translate of.
  package let segments: [Int]

  /// - Parameters:
  ///   - task: `de-en`.
  ///   - limit: the most segments; they are stored in the order of a hash, so that any prefix is a fair
  ///     sample.
  /// - Throws: `CorpusError.option` for what is no direction of the corpus.
  package init(_ corpus: ParallelCorpus, task: String, limit: Int?) throws(CorpusError) {
    let sides = task.split(separator: "-", omittingEmptySubsequences: false).map {
      corpus.manifest.index(of: String($0))
    }
    guard sides.count == 2, let source = sides[0], let target = sides[1], source != target else {
      let known = corpus.languages.map { corpus.tag($0) }.joined(separator: ", ")
      throw .option(
        name: "task", cause: "`\(task)` is no direction; write de-en, with languages of: \(known)")
    }
    let all = corpus.training.segments(source, and: target)
    guard !all.isEmpty else {
      throw .option(name: "task", cause: "the corpus has no sentences of \(task)")
    }
    (self.corpus, self.source, self.target) = (corpus, source, target)
    segments = limit.map { Array(all.prefix($0)) } ?? all
  }

  /// What the teacher reads of a segment, without special tokens.
  package func sourceTokens(_ segment: Int) -> [Int32] {
    corpus.training.tokens(segment, source).map { Int32($0) }
  }

  /// Writes the corpus to the directory `output`, whole or not at all.
  /// - Parameters:
  ///   - answers: of each segment, in order; empty ones are left out.
  ///   - teacher: what is noted of it among the sources.
  /// - Throws: `CorpusError`.
  @discardableResult
  package func write(
    _ answers: [[Int32]], teacher: String, to output: String
  ) throws(CorpusError) -> CorpusManifest {
    precondition(answers.count == segments.count, "an answer for each segment")
    try CorpusDirectory.checkReplaceable(output)
    let kept = zip(segments, answers).filter { !$1.isEmpty }
    let training = TokenShard(
      cells: corpus.languages.map { language in
        kept.map { segment, answer in
          if language == target { return answer.map { UInt16($0) } }
          return language == source ? Array(corpus.training.tokens(segment, source)) : []
        }
      }, segmentCount: kept.count)
    let directory = try CorpusDirectory(output)
    try directory.write(training.encoded, CorpusFile.training)
    for name in CorpusFile.checked where name != CorpusFile.training {
      try directory.write(try DirectoryWalk.read("\(corpus.directory)/\(name)"), name)
    }
    try directory.copyNotices(from: corpus.directory)
    let manifest = corpus.manifest.distilled(
      training, files: try directory.describeFiles(), teacher: teacher)
    try directory.write(manifest)
    try directory.publish()
    return manifest
  }
}

extension CorpusManifest {
  /// The same with another training shard, which a teacher made.
  fileprivate func distilled(
    _ training: TokenShard, files: [String: File], teacher: String
  ) -> CorpusManifest {
    let taught = languages.indices.map { index in
      let (old, language) = (languages[index], LanguageIndex(index))
      return Language(
        tag: old.tag, trainingSegments: training.segments(language, and: language).count,
        heldOutSegments: old.heldOutSegments, trainingTokens: training.tokenCount(language),
        heldOutTokens: old.heldOutTokens)
    }
    return CorpusManifest(
      formatVersion: formatVersion, languages: taught, vocabularySize: vocabularySize,
      trainingSegments: training.segmentCount, heldOutSegments: heldOutSegments, options: options,
      sources: sources + [
        Source(
          name: teacher, licence: "that of what it learned from", segments: training.segmentCount)
      ], files: files, checksum: Self.checksum(files))
  }
}

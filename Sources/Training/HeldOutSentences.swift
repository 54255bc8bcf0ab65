import Corpus

/// Held-out sentences of a run with what they should become, by direction.
struct HeldOutSentences {
  struct Direction {
    /// `de-en`, or `pairs` where nobody named languages.
    let name: String
    /// The language to translate into; empty where nobody named it.
    let target: String
    let pairs: [TextPair]
  }
  /// Those that have sentences.
  let directions: [Direction]

  /// - Parameter count: of sentences, shared out evenly; at least one a direction.
  /// - Throws: `CorpusError`, `TokenizerError`, `InterchangeError`.
  init(_ config: RunConfig, count: Int) throws {
    if let model = try config.publishedModel() {
      let corpus = try TextCorpus.open(
        config.data.corpus, encoder: model.encoder(config), options: TextCorpus.Options(config))
      directions = Self.directions(corpus, count)
    } else {
      directions = try Self.directions(
        ParallelCorpus.open(config.data.corpus), BatchSampler.Limits(config),
        TaskMix(config), count)
    }
  }

  private static func directions(_ corpus: TextCorpus, _ count: Int) -> [Direction] {
    let tasks = corpus.tasks.filter { [.translate, .pair].contains($0.kind) }
    let each = max(1, count / max(1, tasks.count))
    return tasks.compactMap { task in
      let pairs = corpus.heldOutPairs(task, count: each)
      guard let first = pairs.first else { return nil }
      let name = corpus.name(of: task).split(separator: " ").last.map(String.init) ?? ""
      return Direction(name: name, target: first.targetLanguage ?? "", pairs: pairs)
    }
  }

  /// Of what is evaluated.
  private static func directions(
    _ corpus: ParallelCorpus, _ limits: BatchSampler.Limits, _ mix: TaskMix, _ count: Int
  ) throws -> [Direction] {
    let heldOut = try HeldOut(corpus: corpus, limits: limits, mix: mix)
    let pairs = heldOut.tasks.filter { $0.kind == .translate }
      .map { (source: $0.source, target: $0.target) }
      // A language's two directions together, as the samples of a report are read.
      .sorted { (max($0.0, $0.1), $0.0) < (max($1.0, $1.1), $1.0) }
    let each = max(1, count / max(1, pairs.count))
    let samples = try heldOut.translationSamples(pairs, count: each)
    return zip(pairs, samples).filter { !$1.isEmpty }.map { pair, samples in
      let (source, target) = (corpus.tag(pair.source), corpus.tag(pair.target))
      return Direction(
        name: "\(source)-\(target)", target: target,
        pairs: samples.map {
          TextPair(
            source: $0.sourceText, target: $0.referenceText, sourceLanguage: source,
            targetLanguage: target)
        })
    }
  }
}

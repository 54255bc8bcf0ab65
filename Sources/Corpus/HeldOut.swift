import Base

/// Fixed micro-batches and samples of held-out text, for evaluation.
package struct HeldOut: Sendable {
  package struct TranslationSample: Equatable, Sendable {
    /// As the source side of a micro-batch, special tokens included.
    package let sourceTokens: [Int32]
    package let sourceText: String
    package let referenceText: String
  }

  private let corpus: ParallelCorpus
  private let limits: BatchSampler.Limits
  private let noise: DenoisingNoise
  /// Those that are evaluated: of a mix of all pairs only pairs with English, unless it names others.
  package let tasks: [TrainingTask]
  /// Evaluation damages every text the same way in every run.
  private static let seed: UInt64 = 0

  /// - Throws: `CorpusError.option` for tasks of unknown languages.
  package init(
    corpus: ParallelCorpus, limits: BatchSampler.Limits, mix: TaskMix = TaskMix()
  ) throws(CorpusError) {
    (self.corpus, self.limits, noise) = (corpus, limits, mix.noise)
    let isWanted = try mix.tasks.admitted(of: corpus.manifest)
    let others = corpus.languages.dropFirst()
    var pairs: [TrainingTask] =
      others.map { .translate($0, .english) } + others.map { .translate(.english, $0) }
    if mix.pairs == .all, !mix.tasks.patterns.isEmpty {
      pairs += others.flatMap { a in others.filter { $0 != a }.map { .translate(a, $0) } }
    }
    tasks = (pairs + corpus.languages.map { .denoise($0) }).filter(isWanted)
  }

  /// Micro-batches with at most `tokensPerTaskMax` target tokens of each task, packed as full as
  /// those of training and with the tasks mixed as there: the gate's capacity means the same in
  /// both. Tasks without held-out text are left out. A pure function of the corpus and the
  /// arguments.
  package func evaluationBatches(tokensPerTaskMax: Int) -> [MicroBatch] {
    var queues = tasks.map { examples($0, tokensMax: tokensPerTaskMax)[...] }
    var batches: [MicroBatch] = []
    // One example of each task in turn.
    while queues.contains(where: { !$0.isEmpty }) {
      for index in queues.indices {
        guard let example = queues[index].popFirst() else { continue }
        if batches.last?.hasRoom(for: example, tokensMax: limits.microBatchTokens) != true {
          batches.append(MicroBatch())
        }
        batches[batches.count - 1].append(example)
      }
    }
    return batches
  }

  /// Up to `count` held-out translations of each pair, with their raw text. The reference is the
  /// text as written, not what the tokenizer makes of it.
  package func translationSamples(
    _ pairs: [(source: LanguageIndex, target: LanguageIndex)], count: Int
  ) throws(CorpusError) -> [[TranslationSample]] {
    let text = try corpus.heldOutText()
    return pairs.map { source, target in
      examples(.translate(source, target)).prefix(count).map { segment, example in
        TranslationSample(
          sourceTokens: example.source, sourceText: text[segment][source.rawValue],
          referenceText: text[segment][target.rawValue])
      }
    }
  }

  /// The first examples of a task, up to so many target tokens.
  private func examples(_ task: TrainingTask, tokensMax: Int) -> [Example] {
    var tokens = 0
    return examples(task).lazy.map(\.example).prefix { example in
      tokens += example.target.count + 1
      return tokens <= tokensMax
    }.map { $0 }
  }

  /// The held-out examples of a task that are short enough. Segments are stored in the order of a
  /// hash, so that any prefix is a fair sample.
  private func examples(
    _ task: TrainingTask
  ) -> some Sequence<(segment: Int, example: Example)> {
    let stream = Philox(seed: Self.seed, purpose: .denoising)
    return corpus.heldOut.segments(task.source, and: task.target).lazy
      .filter { Example.tokensMax(task, $0, corpus.heldOut) <= limits.maxSequenceTokens }
      .map { segment in
        var draws = DenoisingNoise.Draws(
          stream: stream, UInt32(segment), UInt32(task.target.rawValue))
        let example = Example(
          task, segment, corpus.heldOut, corpus.special, noise, &draws)
        return (segment, example)
      }
  }
}

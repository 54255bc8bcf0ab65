import Corpus
import Models

/// The held-out batches a run is judged by, the same at every evaluation.
struct EvaluationSet: Sendable {
  let batches: [MicroBatch]
  /// Of all targets: what knowing only the frequency of tokens in this very text would score.
  let unigramEntropy: Double
  /// By task: what knowing the frequency of tokens in the target language's training text scores.
  let unigramLossByTask: [String: Double]
  /// Of all tasks that occur.
  let names: [TrainingTask: String]

  /// - Parameter maxTokens: held-out target tokens for each kind of task, shared out evenly.
  /// - Throws: `ConfigError` when the corpus has no held-out text that fits; `CorpusError`.
  init(
    _ corpus: ParallelCorpus, _ limits: BatchSampler.Limits, maxTokens: Int, _ config: RunConfig
  ) throws {
    let heldOut = try HeldOut(corpus: corpus, limits: limits, mix: TaskMix(config))
    let others = max(1, corpus.languageCount - 1)
    let perTask = max(limits.maxSequenceTokens, maxTokens / (2 * others))
    batches = heldOut.evaluationBatches(tokensPerTaskMax: perTask)
    guard !batches.isEmpty else {
      throw ConfigError(
        key: "data.corpus", problem: "has no held-out sentence of the run's tasks that fits",
        remedy: "prepare it with --held-out 0.04, raise data.max_sequence_tokens, or name "
          + "data.tasks that data.pairs has")
    }
    unigramEntropy = Corpus.unigramEntropy(of: batches.flatMap(\.targetOutput))

    var targets: [TrainingTask: [Int32]] = [:]
    for batch in batches {
      for (task, rows) in zip(batch.tasks, batch.targetSegments) {
        targets[task, default: []] += batch.targetOutput[rows]
      }
    }
    let models = corpus.languages.map { UnigramModel(corpus, $0) }
    var (losses, names) = ([String: Double](), [TrainingTask: String]())
    for (task, tokens) in targets {
      names[task] = corpus.name(of: task)
      losses[corpus.name(of: task)] = models[task.target.rawValue].crossEntropy(of: tokens)
    }
    (unigramLossByTask, self.names) = (losses, names)
  }

  /// Held-out examples of a file; none when nothing is held out. The unigram losses are the
  /// entropies of the held-out labels themselves.
  init(_ corpus: TextCorpus, _ config: RunConfig) {
    let each = max(
      config.data.max_sequence_tokens, config.evaluation.max_tokens / max(1, corpus.tasks.count))
    batches = corpus.evaluationBatches(
      microBatchTokens: config.training.micro_batch_tokens, tokensPerTaskMax: each)
    var labels: [TrainingTask: [Int32]] = [:]
    for batch in batches {
      for (task, rows) in zip(batch.tasks, batch.targetSegments) {
        labels[task, default: []] += batch.targetOutput[rows].filter {
          $0 != MicroBatch.ignoredLabel
        }
      }
    }
    unigramEntropy = Corpus.unigramEntropy(of: labels.values.joined())
    var (losses, names) = ([String: Double](), [TrainingTask: String]())
    for (task, labels) in labels {
      names[task] = corpus.name(of: task)
      losses[corpus.name(of: task)] = Corpus.unigramEntropy(of: labels)
    }
    (unigramLossByTask, self.names) = (losses, names)
  }

  var isEmpty: Bool { batches.isEmpty }

  /// Sums the losses of the rows of `microBatches` by task.
  func add(
    _ losses: ArraySlice<Float>, of microBatch: MicroBatch, to sums: inout [String: TaskLoss]
  ) {
    for (task, rows) in zip(microBatch.tasks, microBatch.targetSegments) {
      guard let name = names[task] else { preconditionFailure("every task has a name") }
      let start = losses.startIndex
      let sum = losses[start + rows.lowerBound..<start + rows.upperBound]
        .reduce(0.0) { $0 + Double($1) }
      sums[name, default: TaskLoss()].nats += sum
      sums[name, default: TaskLoss()].tokens += microBatch.targetOutput[rows].count {
        $0 != MicroBatch.ignoredLabel
      }
    }
  }

  struct TaskLoss {
    var nats = 0.0
    var tokens = 0
  }
}

extension TrainingStep {
  /// The mean negative log likelihood per target token over `set`, in nats, and by task. Changes no
  /// weight; virgin experts are evaluated as they would start.
  /// - Parameter observe: shown the model after each sweep, and the micro-batches that it read.
  mutating func evaluate(
    _ set: EvaluationSet, step: Int,
    observe: (Transformer, ArraySlice<MicroBatch>) -> Void = { _, _ in }
  ) throws -> EvaluationReport {
    var sums: [String: EvaluationSet.TaskLoss] = [:]
    var rest = set.batches[...]
    while !rest.isEmpty {
      let group = rest.prefix(options.microBatches)
      rest = rest.dropFirst(group.count)
      let packed = PackedBatch(Array(group))
      let losses = try losses(packed)
      observe(model, group)
      for (rows, microBatch) in zip(packed.target.microBatches, group) {
        set.add(losses[rows], of: microBatch, to: &sums)
      }
    }
    var report = EvaluationReport()
    report.step = step
    report.tokens = sums.values.reduce(0) { $0 + $1.tokens }
    // Sorted: a dictionary's own order, and with it the last bit of a sum, changes with the
    // process.
    report.loss = sums.sorted { $0.key < $1.key }.reduce(0) { $0 + $1.value.nats }
    report.loss /= Double(report.tokens)
    report.loss_by_task = sums.mapValues { $0.nats / Double($0.tokens) }
    return report
  }

  /// The loss of each target row of `batch`, at the capacity of evaluation. The gate's choices are
  /// keyed as for step 0, so that every evaluation drops by the same draws.
  private mutating func losses(_ batch: PackedBatch) throws -> [Float] {
    try forward(batch, step: 0, mode: .evaluation)
    return model.losses()
  }
}

extension TaskMix {
  init(_ config: RunConfig) {
    self.init()
    denoiseShare = config.data.denoise
    pairs = config.data.pairs == "all" ? .all : .english
    temperature = config.data.temperature
    tasksPerStep = config.data.tasks_per_step == 0 ? nil : config.data.tasks_per_step
    noise.maskRate = config.data.mask_rate
    noise.deletionRate = config.data.deletion_rate
    tasks = TaskFilter(config.data.tasks)
  }
}

extension BatchSampler.Limits {
  init(_ config: RunConfig) {
    self.init(
      microBatchTokens: config.training.micro_batch_tokens,
      maxSequenceTokens: config.data.max_sequence_tokens)
  }
}

import Corpus
import Models

/// The held-out batches a run is judged by, the same at every evaluation.
struct EvaluationSet: Sendable {
  let batches: [HeldOut.TaskBatches]
  let names: [String]
  /// Of all targets, and of each task's: what knowing only the frequency of tokens would score.
  let unigramEntropy: Double
  let unigramEntropyByTask: [String: Double]

  /// - Parameter maxTokens: held-out target tokens for each kind of task, shared out evenly.
  init(_ corpus: ParallelCorpus, _ limits: BatchSampler.Limits, maxTokens: Int, _ config: RunConfig)
  {
    let heldOut = HeldOut(corpus: corpus, limits: limits, noise: TaskMix(config).noise)
    let others = max(1, corpus.languageCount - 1)
    let perTask = max(limits.maxSequenceTokens, maxTokens / (2 * others))
    batches = heldOut.evaluationBatches(tokensPerTaskMax: perTask)
    names = batches.map { corpus.name(of: $0.task) }
    unigramEntropy = batches.unigramEntropy
    let byTask = batches.map { $0.batches.flatMap(\.targetOutput) }
    unigramEntropyByTask = Dictionary(
      uniqueKeysWithValues: zip(names, byTask.map { Corpus.unigramEntropy(of: $0) }))
  }
}

extension TrainingStep {
  /// The mean negative log likelihood per target token over `set`, in nats, and by task. Changes no
  /// weight; virgin experts are evaluated as they would start.
  mutating func evaluate(_ set: EvaluationSet, step: Int) throws -> EvaluationReport {
    var sums = [Double](repeating: 0, count: set.batches.count)
    var counts = [Int](repeating: 0, count: set.batches.count)
    let pieces = set.batches.enumerated().flatMap { task, batches in
      batches.batches.map { (task: task, microBatch: $0) }
    }
    var next = 0
    while next < pieces.count {
      let group = pieces[next..<min(pieces.count, next + options.microBatches)]
      next += group.count
      let packed = PackedBatch(group.map(\.microBatch))
      let losses = try losses(packed, step: step)
      for (rows, piece) in zip(packed.target.microBatches, group) {
        sums[piece.task] += losses[rows].reduce(0.0) { $0 + Double($1) }
        counts[piece.task] += rows.count
      }
    }
    var report = EvaluationReport()
    report.step = step
    report.tokens = counts.reduce(0, +)
    report.loss = sums.reduce(0, +) / Double(max(1, report.tokens))
    for (task, name) in set.names.enumerated() {
      report.loss_by_task[name] = sums[task] / Double(max(1, counts[task]))
    }
    return report
  }

  /// The loss of each target row of `batch`, at the capacity of evaluation.
  private mutating func losses(_ batch: PackedBatch, step: Int) throws -> [Float] {
    model.embed(batch, step: step, mode: .evaluation)
    for layer in model.description.encoder { try forward(layer) }
    model.encoderToDecoder()
    for layer in model.description.decoder { try forward(layer) }
    return model.losses()
  }
}

extension TaskMix {
  init(_ config: RunConfig) {
    self.init()
    denoiseShare = config.data.denoise
    pairs = config.data.pairs == "all" ? .all : .english
    temperature = config.data.temperature
    noise.maskRate = config.data.mask_rate
    noise.deletionRate = config.data.deletion_rate
  }
}

extension BatchSampler.Limits {
  init(_ config: RunConfig) {
    self.init(
      microBatchTokens: config.training.micro_batch_tokens,
      maxSequenceTokens: config.data.max_sequence_tokens)
  }
}

import Base

/// Where a run takes its micro-batches from. A micro-batch is a pure function of the two numbers:
/// the data cursor of a run is its step, and any thread may make any micro-batch.
package protocol MicroBatchSource: Sendable {
  /// Micro-batch `index` of `step`, both from 0.
  func microBatch(step: Int, index: Int) -> MicroBatch
}

/// Draws training micro-batches. A micro-batch is a pure function of (seed, step, index): the data
/// cursor of a run is its step, and any thread may make any micro-batch.
package struct BatchSampler: MicroBatchSource {
  package struct Limits: Equatable, Sendable {
    /// Tokens of a micro-batch on the source side, and likewise on the target side.
    package let microBatchTokens: Int
    /// Tokens of a sequence on either side, special tokens included; longer ones are never drawn.
    package let maxSequenceTokens: Int

    package init(microBatchTokens: Int, maxSequenceTokens: Int) {
      precondition(maxSequenceTokens >= 4, "a sequence holds its special tokens and some text")
      precondition(microBatchTokens >= maxSequenceTokens, "a micro-batch holds any sequence")
      self.microBatchTokens = microBatchTokens
      self.maxSequenceTokens = maxSequenceTokens
    }
  }

  package let limits: Limits
  private let corpus: ParallelCorpus
  private let mix: TaskMix
  private let table: TaskTable
  private let choice: Philox
  private let noise: Philox

  /// - Throws: `CorpusError.option` for a mix out of range, and when no segment is short enough.
  package init(
    corpus: ParallelCorpus, mix: TaskMix, seed: UInt64, limits: Limits
  ) throws(CorpusError) {
    try mix.check()
    self.limits = limits
    self.corpus = corpus
    self.mix = mix
    table = try TaskTable(corpus: corpus, mix: mix) { task, segment in
      Example.tokensMax(task, segment, corpus.training) <= limits.maxSequenceTokens
    }
    guard !table.entries.isEmpty else {
      throw .option(
        name: "max sequence tokens",
        cause: "no segment of the tasks fits \(limits.maxSequenceTokens) tokens; raise it")
    }
    choice = Philox(seed: seed, purpose: .taskSampling)
    noise = Philox(seed: seed, purpose: .denoising)
  }

  /// Memory held beside the corpus itself.
  package var residentBytes: Int { table.residentBytes }

  /// The tasks that can be drawn, with their probabilities, which sum to 1.
  package var probabilities: [(task: TrainingTask, probability: Double)] {
    table.entries.map { ($0.task, $0.probability) }
  }

  /// Micro-batch `index` of `step`: sequences are drawn until one does not fit.
  package func microBatch(step: Int, index: Int) -> MicroBatch {
    precondition(0 <= step && step < 1 << 32, "a step fits 32 bits")
    precondition(0 <= index && index < 1 << 14, "an index fits 14 bits")
    var batch = MicroBatch()
    let tasks = tasks(of: UInt32(step))
    for draw in 0..<1 << 18 {
      let example = example(UInt32(step), UInt32(index << 18 | draw), of: tasks)
      guard batch.hasRoom(for: example, tokensMax: limits.microBatchTokens) else { break }
      batch.append(example)
    }
    return batch
  }

  /// Those that a step is limited to; nil: all.
  private func tasks(of step: UInt32) -> [TaskTable.Entry]? {
    mix.tasksPerStep.map { count in
      (0..<count).map {
        table.entry(at: Double(choice.words(step, UInt32($0), 1).x) * 0x1p-32)
      }
    }
  }

  private func example(
    _ step: UInt32, _ draw: UInt32, of tasks: [TaskTable.Entry]?
  ) -> Example {
    let words = choice.words(step, draw, 0)
    let entry =
      tasks.map { $0[Int((UInt64(words.x) * UInt64($0.count)) >> 32)] }
      ?? table.entry(at: Double(words.x) * 0x1p-32)
    let list = table.lists[entry.list]
    let place = Int((UInt64(words.y) * UInt64(list.count)) >> 32)
    var draws = DenoisingNoise.Draws(stream: noise, step, draw)
    return Example(
      entry.task, Int(list[place]), corpus.training, corpus.special, mix.noise, &draws)
  }
}

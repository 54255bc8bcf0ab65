import Base
import Synchronization

/// Draws the training examples of a text corpus epoch by epoch: each exactly once, in a new order
/// each time. An endless row of examples, epoch after epoch, is cut into micro-batches, each filled
/// until the next example does not fit; the border of two epochs may be inside one.
///
/// A micro-batch is a pure function of (corpus, seed, step, index). Where it begins follows from all
/// examples before it, so the first call walks there, millions of examples a second; the next calls
/// go on from where the last ones were.
package final class EpochSampler: MicroBatchSource {
  package let microBatchTokens: Int
  package let microBatchesPerStep: Int
  private let corpus: TextCorpus
  private let order: EpochOrder
  private let noise: Philox
  private let walk: Mutex<Walk>

  /// - Parameters:
  ///   - microBatchTokens: most tokens of a micro-batch on either side.
  ///   - microBatchesPerStep: part of what a step means: with another number, other steps.
  /// - Throws: `CorpusError.option` when not every sequence fits a micro-batch.
  package init(
    _ corpus: TextCorpus, seed: UInt64, microBatchTokens: Int, microBatchesPerStep: Int
  ) throws(CorpusError) {
    precondition(microBatchesPerStep > 0, "a step has micro-batches")
    guard microBatchTokens >= corpus.maxSequenceTokens else {
      throw .option(
        name: "micro-batch tokens",
        cause: "\(microBatchTokens) are less than a sequence of \(corpus.maxSequenceTokens) has")
    }
    (self.corpus, self.microBatchTokens) = (corpus, microBatchTokens)
    self.microBatchesPerStep = microBatchesPerStep
    order = EpochOrder(seed: seed, count: corpus.training.count)
    noise = Philox(seed: seed, purpose: .denoising)
    walk = Mutex(Walk())
  }

  /// The orders of two epochs.
  static let bytesPerExample = 8

  /// Memory held beside the corpus itself; `TextCorpus.bytesMax(of:)` has room for it.
  package var residentBytes: Int {
    Self.bytesPerExample * order.count
      + (Walk.recentMax + Walk.epochsMax) * MemoryLayout<Cursor>.stride
  }

  /// Micro-batch `index` of `step`.
  package func microBatch(step: Int, index: Int) -> MicroBatch {
    precondition(0 <= index && index < microBatchesPerStep, "a micro-batch of the step")
    var batch = MicroBatch()
    for (epoch, example) in draws(number(step, index)) {
      var draws = DenoisingNoise.Draws(stream: noise, UInt32(epoch), example)
      let task = corpus.tasks[Int(corpus.training.tasks[Int(example)])]
      corpus.training.append(Int(example), of: task, to: &batch, &draws)
    }
    return batch
  }

  /// Epochs that are over when `step` begins, with the part of the running one.
  package func epochs(before step: Int) -> Double {
    let start = walk.withLock { cursor(number(step, 0), &$0) }
    return Double(start.epoch) + Double(start.position) / Double(order.count)
  }

  private func number(_ step: Int, _ index: Int) -> Int {
    precondition(0 <= step && step < 1 << 32, "a step fits 32 bits")
    return step * microBatchesPerStep + index
  }

  // MARK: Walking

  /// Where a micro-batch begins.
  private struct Cursor: Equatable {
    /// Of the micro-batch, counted over all steps.
    var number = 0
    var epoch = 0
    /// In the order of the epoch.
    var position = 0
  }

  private struct Walk {
    static let recentMax = 1024
    static let epochsMax = 1024
    /// The latest cursors that were passed, by number without gaps.
    var recent: [Cursor] = [Cursor()]
    /// The first cursor of each of the first epochs that has one.
    var epochs: [Cursor] = [Cursor()]
    /// The orders of the two epochs used last.
    var orders: [(epoch: Int, order: [UInt32])] = []
  }

  /// The examples of a micro-batch with their epochs.
  private func draws(_ number: Int) -> [(epoch: Int, example: UInt32)] {
    walk.withLock { walk in
      var draws: [(epoch: Int, example: UInt32)] = []
      let start = cursor(number, &walk)
      remember(pass(start, &walk) { draws.append(($0, $1)) }, &walk)
      return draws
    }
  }

  private func cursor(_ number: Int, _ walk: inout Walk) -> Cursor {
    if let first = walk.recent.first, first.number <= number, let last = walk.recent.last {
      guard last.number < number else { return walk.recent[number - first.number] }
    } else {
      // Back to the start of an epoch.
      guard let start = walk.epochs.last(where: { $0.number <= number }) else {
        preconditionFailure("the first epoch begins with micro-batch 0")
      }
      walk.recent = [start]
    }
    while let last = walk.recent.last {
      guard last.number < number else { return last }
      remember(pass(last, &walk) { _, _ in }, &walk)
    }
    preconditionFailure("a walk has passed something")
  }

  private func remember(_ cursor: Cursor, _ walk: inout Walk) {
    guard let last = walk.recent.last, cursor.number == last.number + 1 else { return }
    walk.recent.append(cursor)
    if walk.recent.count > Walk.recentMax { walk.recent.removeFirst(Walk.recentMax / 2) }
    if let start = walk.epochs.last, cursor.epoch > start.epoch, cursor.number > start.number,
      walk.epochs.count < Walk.epochsMax
    {
      walk.epochs.append(cursor)
    }
  }

  /// Calls `body` for each example of the micro-batch at `start`.
  /// - Returns: where the next one begins.
  private func pass(
    _ start: Cursor, _ walk: inout Walk, _ body: (_ epoch: Int, _ example: UInt32) -> Void
  ) -> Cursor {
    var cursor = start
    var (source, target) = (0, 0)
    while true {
      if cursor.position == order.count {
        cursor.epoch += 1
        cursor.position = 0
      }
      let example = self.order(cursor.epoch, &walk)[cursor.position]
      let sizes = corpus.training.sizes(of: Int(example))
      guard source + sizes.source <= microBatchTokens, target + sizes.target <= microBatchTokens
      else {
        cursor.number += 1
        return cursor
      }
      body(cursor.epoch, example)
      source += sizes.source
      target += sizes.target
      cursor.position += 1
    }
  }

  private func order(_ epoch: Int, _ walk: inout Walk) -> [UInt32] {
    if let known = walk.orders.last(where: { $0.epoch == epoch }) { return known.order }
    if walk.orders.count == 2 { walk.orders.removeFirst() }
    walk.orders.append((epoch, order.order(epoch: epoch)))
    return walk.orders[walk.orders.count - 1].order
  }
}

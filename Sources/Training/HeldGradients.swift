import Base
import Kernels
import Models
import Paging
import Storage
import Tracing

/// Gradients that wait in memory for the next forward sweep, which updates their experts when it is there.
///
/// With fp32 states an update moves 22 bytes of a parameter, and both sweeps 2 each besides: where a step waits
/// for the drive it waits in the backward sweep, and in the other one the drive for the step. A gradient
/// takes 4 bytes of memory, and moves those 22 there. What is computed is the same, since nobody reads a
/// weight in between: whoever would (a generation that is frozen, an evaluation) has all of them updated
/// before (`TrainingStep.updateHeld`).
///
///     backward   expert: hi, gradient, hold ----.
///     forward    expert: hi, lo, m, v, AdamW <--' products, written
final class HeldGradients {
  private struct Held {
    let update: BlockUpdate
    /// What the gradient is multiplied by.
    let factor: Float
    let tokens: Int
    let memory: FloatBuffer
  }

  private var free: [FloatBuffer]
  /// Blocks whose gradients the backward sweep under way shall hold.
  private var chosen: Set<BlockID> = []
  private var held: [BlockID: Held] = [:]
  /// Since the start of the step.
  var counts = Counts()

  struct Counts {
    /// Gradients left to the next forward sweep.
    var left = 0
    /// Blocks updated from gradients of the step before, and those of them that have no tokens now.
    var updated = 0
    var untouched = 0
    /// Spent on those updates, without waits.
    var seconds = 0.0
  }

  /// Whether the step under way may hold any.
  var mayHold = true
  private let share: Double

  /// - Parameters:
  ///   - count: gradients that there is room for.
  ///   - parameters: of a block.
  ///   - share: of a step's gradients, the most that are held.
  init(count: Int, parameters: Int, share: Double) {
    self.share = share
    free = (0..<count).map { _ in FloatBuffer(count: parameters) }
  }

  var isEmpty: Bool { held.isEmpty }

  /// Chooses as many of `blocks` as there is room for, evenly: drive and arithmetic are to have their share
  /// all along both sweeps.
  func choose(among blocks: [BlockID]) {
    precondition(held.isEmpty, "the forward sweep has left none")
    let count = mayHold ? min(free.count, Int(share * Double(blocks.count))) : 0
    chosen = Set(
      blocks.enumerated().filter { index, _ in
        (index + 1) * count / blocks.count > index * count / blocks.count
      }.map(\.element))
  }

  func isChosen(_ block: BlockID) -> Bool { chosen.contains(block) }

  /// Keeps a copy of `gradient`.
  func hold(
    _ block: BlockID, _ gradient: FloatBuffer, _ update: BlockUpdate, factor: Float, tokens: Int,
    on workers: Workers
  ) {
    guard chosen.remove(block) != nil, let memory = free.popLast() else {
      preconditionFailure("there is room for what was chosen")
    }
    let to = memory.matrix(rows: 1, columns: memory.count)
    let from = gradient.matrix(rows: 1, columns: memory.count)
    workers.forEachChunk(of: memory.count, size: 1 << 16) { range in
      to.columns(range).copy(from: from.columns(range))
    }
    held[block] = Held(update: update, factor: factor, tokens: tokens, memory: memory)
    counts.left += 1
  }

  func holds(_ block: BlockID) -> Bool { held[block] != nil }

  /// Blocks whose gradients are held: of one layer with experts, or of all; in the order of the sweep.
  func blocks(of mixture: Int? = nil) -> [BlockID] {
    held.keys.filter { mixture == nil || $0.layer == mixture }.sorted()
  }

  /// Updates `page` if its gradient is held, which it is no more then.
  /// - Returns: the step of the gradient and the tokens that it is of; nil if none was held.
  /// - Throws: `StorageError` for bytes that cannot be read right.
  func update(
    _ page: inout Page, _ pager: inout Pager, _ model: Transformer
  ) throws -> (step: Int, tokens: Int)? {
    guard let found = held[page.block] else { return nil }
    let start = nanoseconds()
    try found.update.apply(found.memory, factor: found.factor, to: &page, &pager, model)
    let end = nanoseconds()
    pager.trace.note(.update, from: start, to: end)
    counts.seconds += elapsedSeconds(from: start, to: end)
    held[page.block] = nil
    counts.updated += 1
    free.append(found.memory)
    return (found.update.step, found.tokens)
  }
}

// MARK: In the sweeps

extension TrainingStep {
  /// Updates all experts whose gradients are held.
  /// - Throws: `StorageError` when a page cannot be had.
  mutating func updateHeld() throws {
    guard let held, !held.isEmpty else { return }
    pager.forgetPlan()
    let blocks = held.blocks()
    pager.plan(blocks.map { Visit($0, .all, isCheckedByHolder: true) })
    try pager.updateHeld(blocks.count, held, model, options)
  }

  /// Chooses what the backward sweep to come shall hold: of experts that had tokens.
  func chooseHeld() {
    guard let held else { return }
    let mixtures = model.description.layers.reversed().compactMap(\.mixture)
    held.choose(
      among: mixtures.flatMap { mixture in
        model.routings[mixture].blocks.reversed().map {
          .expert(layer: mixture, $0.expert, slice: $0.slice)
        }
      })
  }
}

extension Pager {
  /// Updates the next `count` planned blocks, which nobody computes with now, from held gradients.
  mutating func updateHeld(
    _ count: Int, _ held: HeldGradients, _ model: Transformer, _ options: StepOptions
  ) throws {
    for _ in 0..<count {
      var page = try next()
      page.initialiseIfVirgin(model.description.experts, seed: options.seed)
      guard let done = try held.update(&page, &self, model) else {
        preconditionFailure("only blocks whose gradients are held")
      }
      writeBack(page, step: done.step, tokens: done.tokens)
      held.counts.untouched += 1
    }
  }
}

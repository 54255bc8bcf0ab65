package import Base
package import Paging
package import Storage

/// How the memory ceiling is shared out, decided before anything large is allocated.
///
/// Fixed needs are granted first, by name; the frames of the page pool get the rest: first the few
/// that paging cannot do without, then those in which the records of a layer's experts are read before
/// the backward sweep is there, then frames for weights (read in both sweeps, 2 bytes a parameter),
/// then frames for optimizer state (once a step, up to 10 bytes a parameter).
package struct MemoryPlan: Sendable {
  package let ceiling: Int
  package let fixed: [MemoryLedger.Grant]
  package let frames: FrameBudget
  /// Whether every block stays in memory and the disk is written at commits only.
  package let isResident: Bool
  /// What the page pool could do without: all that is left where every block stays in memory, else half
  /// of what is left beyond the frames it must have.
  let spareBytes: Int
  /// The same where the drive is what a step waits for: frames that smooth the overlap come first.
  let spareBytesOfSlowDrive: Int
  /// All of the page pool.
  let poolBytes: Int

  /// The program, the Swift runtime, SQLite, page tables and the small change of the heap, beyond
  /// the named allocations; and for each thread a stack and what products pack their factors into.
  package static func runtimeBytes(threads: Int) -> Int { (49 + 4 * threads) << 20 }

  /// Frames that one direction cannot do without: one read, one in use, one written, one to spare.
  static let leastFrames = 4
  /// State frames beyond those smooth the overlap of reads and writes; more only help as a cache.
  private static let overlapFrames = 8
  /// Frames for weights to each frame for state that is read ahead of updates. One would do to read
  /// both; with two some weights are still there from the forward sweep, and the drive is not waited
  /// for where that is short of time.
  private static let weightFramesAhead = 2

  /// - Parameter updated: blocks of a layer, which a sweep updates in a row; 0 where nothing is updated.
  /// - Throws: `MemoryRefusal` naming the allocation that does not fit and the bytes missing.
  package init(
    ceiling: Int, fixed: [MemoryLedger.Grant], geometry: RecordGeometry, blocks: Int,
    updated: Int = 0, resident: Bool
  ) throws(MemoryRefusal) {
    let all = blocks * geometry.recordBytes
    let least = min(blocks, Self.leastFrames) * geometry.recordBytes
    let left = ceiling - fixed.reduce(0) { $0 + $1.bytes }
    let isResident = resident || all <= left
    let frames = MemoryLedger.Grant(
      name: resident ? "page frames for all blocks (--resident)" : "the least page frames",
      bytes: isResident ? all : least)
    try Self.requireAll(fixed + [frames], ceiling: ceiling)
    self.ceiling = ceiling
    self.fixed = fixed
    self.isResident = isResident
    spareBytes = isResident ? left - all : (left - least) / 2
    let overlap = Self.overlapFrames * geometry.stateFrameBytes
    spareBytesOfSlowDrive = isResident ? left - all : max(0, (left - least - overlap) / 2)
    poolBytes = left
    self.frames =
      isResident
      ? FrameBudget(weights: blocks, state: blocks) : Self.share(left, geometry, blocks, updated)
  }

  /// Refuses at the first grant that does not fit, and says what all of them together miss.
  private static func requireAll(
    _ grants: [MemoryLedger.Grant], ceiling: Int
  ) throws(MemoryRefusal) {
    var granted = 0
    for (index, grant) in grants.enumerated() {
      guard granted + grant.bytes > ceiling else {
        granted += grant.bytes
        continue
      }
      throw MemoryRefusal(
        name: grant.name, bytes: grant.bytes, granted: granted, ceiling: ceiling,
        later: grants[(index + 1)...].reduce(0) { $0 + $1.bytes })
    }
  }

  /// Bytes of the pool beyond frames for so many experts that are read ahead of their updates.
  func bytes(beyond experts: Int, _ geometry: RecordGeometry) -> Int {
    let ahead = geometry.stateFrameBytes + Self.weightFramesAhead * geometry.weightFrameBytes
    return max(0, poolBytes - experts * ahead)
  }

  private static func share(
    _ bytes: Int, _ geometry: RecordGeometry, _ blocks: Int, _ updated: Int
  ) -> FrameBudget {
    let least = min(blocks, leastFrames)
    // Overlap first, up to a quarter of the pool; then weights; what is left holds state.
    let overlap = min(overlapFrames, bytes / 4 / geometry.stateFrameBytes)
    // While attention computes backward, the drive can do nothing but fill free frames with what the
    // next experts need, layer for layer; a frame for weights saves two short reads a step.
    func ahead(weights: Int) -> Int {
      min(updated, bytes / (geometry.stateFrameBytes + weights * geometry.weightFrameBytes))
    }
    // As long as they are few, each more of them hides more of the drive than frames for weights.
    let few = min(overlapFrames, ahead(weights: 1))
    var state = min(blocks, max(least, overlap, few, ahead(weights: weightFramesAhead)))
    let rest = bytes - state * geometry.stateFrameBytes
    let weights = min(blocks, rest / geometry.weightFrameBytes)
    state += (rest - weights * geometry.weightFrameBytes) / geometry.stateFrameBytes
    return FrameBudget(weights: weights, state: min(blocks - 1, state))
  }
}

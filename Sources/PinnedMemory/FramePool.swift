package import Base
import Synchronization

/// One frame of a pool, owned. Dropping it hands the frame back.
package struct Frame: ~Copyable {
  /// The whole frame.
  package let memory: PinnedSlice
  /// The memory node that holds it; nil where that is not known to be one.
  package let node: Int?
  private let index: Int
  private let pool: FramePool

  fileprivate init(index: Int, memory: PinnedSlice, node: Int?, pool: FramePool) {
    (self.index, self.memory, self.node, self.pool) = (index, memory, node, pool)
  }
  deinit { pool.putBack(index) }

  /// `byteCount` bytes from `offset` of the frame.
  package func slice(offset: Int, byteCount: Int) -> PinnedSlice {
    precondition(offset >= 0, "offsets count from the start of the frame")
    precondition(byteCount <= memory.byteCount - offset, "a slice lies inside its frame")
    return unsafe PinnedSlice(address: memory.address + offset, byteCount: byteCount)
  }
}

/// Equal frames in pinned regions, one for each share. Their number and size are fixed at the
/// start.
package final class FramePool: Sendable {
  package let frameBytes: Int
  package let frameCount: Int
  package let shares: [FrameShare]
  private let parts: [Part]
  private let free: Mutex<[Int]>

  /// A region and the number of its first frame. A class because arrays cannot hold what cannot be
  /// copied.
  private final class Part: Sendable {
    let region: PinnedRegion
    let frames: Range<Int>

    init(_ region: consuming PinnedRegion, frames: Range<Int>) {
      self.region = region
      self.frames = frames
    }
  }

  /// - Parameters:
  ///   - name: how the ledger and errors call the pool.
  ///   - frameBytes: a multiple of 4096, so that every frame can be the target of direct I/O.
  package init(
    name: String, shares: [FrameShare], frameBytes: Int, ledger: MemoryLedger
  ) throws(MemoryError) {
    precondition(!shares.isEmpty && shares.allSatisfy { $0.frames > 0 }, "a pool has frames")
    precondition(frameBytes > 0 && frameBytes % 4096 == 0, "frames are whole pages")
    var parts: [Part] = []
    for share in shares {
      let first = parts.last?.frames.upperBound ?? 0
      let region = try PinnedRegion(
        name: name, byteCount: share.frames * frameBytes, placement: share.placement,
        ledger: ledger)
      parts.append(Part(region, frames: first..<first + share.frames))
    }
    self.parts = parts
    self.shares = shares
    self.frameBytes = frameBytes
    frameCount = parts.reduce(0) { $0 + $1.frames.count }
    free = Mutex(Self.inTurn(zip(parts.map(\.frames), shares.map(\.tier))).reversed())
  }

  /// A pool wherever the kernel puts it.
  package convenience init(
    name: String, frameCount: Int, frameBytes: Int, ledger: MemoryLedger
  ) throws(MemoryError) {
    try self.init(
      name: name, shares: [FrameShare(.anywhere, frames: frameCount)], frameBytes: frameBytes,
      ledger: ledger)
  }

  /// All memory of the pool, for registration with a disk.
  package var memory: [PinnedSlice] { parts.map { $0.region.memory } }
  package var locks: [PageLock] { parts.map { $0.region.lock } }
  package var placementNotes: [String] { parts.compactMap { $0.region.placementNote } }
  /// Where the pages of each region are now: every one is asked about, a tenth of a microsecond each.
  package var places: [RegionPlace] { parts.map { $0.region.place } }
  package var freeCount: Int { free.withLock { $0.count } }
  package var byteCount: Int { frameCount * frameBytes }
  /// Bytes that are on huge pages now.
  package var hugeBytes: Int { parts.reduce(0) { $0 + $1.region.hugeBytes } }

  /// A free frame with whatever bytes its last owner left; nil when all are taken.
  package func take() -> Frame? {
    guard let index = free.withLock({ $0.popLast() }) else { return nil }
    guard let part = parts.first(where: { $0.frames.contains(index) }) else {
      preconditionFailure("every frame has a region")
    }
    let offset = (index - part.frames.lowerBound) * frameBytes
    let address = unsafe part.region.memory.address + offset
    return unsafe Frame(
      index: index, memory: PinnedSlice(address: address, byteCount: frameBytes),
      node: part.region.node, pool: self)
  }

  fileprivate func putBack(_ index: Int) { free.withLock { $0.append(index) } }

  /// All frames in the order in which they are first given: faster tiers first, and inside a tier
  /// so that its nodes fill evenly, whatever their number of frames.
  private static func inTurn(_ ranges: some Sequence<(Range<Int>, Int)>) -> [Int] {
    var places: [(place: Double, frame: Int)] = []
    for (range, tier) in ranges {
      for frame in range {
        let share = Double(frame - range.lowerBound) / Double(range.count)
        places.append((Double(tier) + share, frame))
      }
    }
    return places.sorted { $0 < $1 }.map(\.frame)
  }
}

package import Base
import Synchronization

/// One frame of a pool, owned. Dropping it hands the frame back.
package struct Frame: ~Copyable {
  /// The whole frame.
  package let memory: PinnedSlice
  private let index: Int
  private let pool: FramePool

  fileprivate init(index: Int, memory: PinnedSlice, pool: FramePool) {
    (self.index, self.memory, self.pool) = (index, memory, pool)
  }
  deinit { pool.putBack(index) }

  /// `byteCount` bytes from `offset` of the frame.
  package func slice(offset: Int, byteCount: Int) -> PinnedSlice {
    precondition(offset >= 0, "offsets count from the start of the frame")
    precondition(byteCount <= memory.byteCount - offset, "a slice lies inside its frame")
    return unsafe PinnedSlice(address: memory.address + offset, byteCount: byteCount)
  }
}

/// Equal frames in one pinned region. Their number and size are fixed at the start.
package final class FramePool: Sendable {
  package let frameBytes: Int
  package let frameCount: Int
  private let region: PinnedRegion
  private let free: Mutex<[Int]>

  /// - Parameters:
  ///   - name: how the ledger and errors call the pool.
  ///   - frameBytes: a multiple of 4096, so that every frame can be the target of direct I/O.
  package init(
    name: String, frameCount: Int, frameBytes: Int, node: Int? = nil, ledger: MemoryLedger
  ) throws(MemoryError) {
    precondition(frameCount > 0, "a pool has frames")
    precondition(frameBytes > 0 && frameBytes % 4096 == 0, "frames are whole pages")
    region = try PinnedRegion(
      name: name, byteCount: frameCount * frameBytes, node: node, ledger: ledger)
    (self.frameCount, self.frameBytes) = (frameCount, frameBytes)
    free = Mutex(Array((0..<frameCount).reversed()))
  }

  /// All memory of the pool, for registration with a disk.
  package var memory: PinnedSlice { region.memory }
  package var lock: PageLock { region.lock }
  package var freeCount: Int { free.withLock { $0.count } }

  /// A free frame with whatever bytes its last owner left; nil when all are taken.
  package func take() -> Frame? {
    guard let index = free.withLock({ $0.popLast() }) else { return nil }
    let address = unsafe region.memory.address + index * frameBytes
    return unsafe Frame(
      index: index, memory: PinnedSlice(address: address, byteCount: frameBytes), pool: self)
  }

  fileprivate func putBack(_ index: Int) { free.withLock { $0.append(index) } }
}

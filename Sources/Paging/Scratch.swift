import Base
import DirectIO
import PinnedMemory
import Storage

/// How much a scratch holds, and how much of that in memory.
package struct ScratchSize: Hashable, Sendable {
  package let leaves: Int
  package let leafBytes: Int
  package let frames: Int

  /// - Parameters:
  ///   - leafBytes: of the largest leaf; whole pages are taken.
  ///   - frames: as many as leaves keep all in memory; fewer are as many leaves as are written or
  ///     read while others are used.
  package init(leaves: Int, leafBytes: Int, frames: Int) {
    precondition(leaves > 0 && leafBytes > 0 && frames > 0, "a scratch has leaves and frames")
    self.leaves = leaves
    self.leafBytes = roundUp(leafBytes, to: 4096)
    self.frames = min(frames, leaves)
  }

  package var isOnDisk: Bool { frames < leaves }
  package var memoryBytes: Int { frames * leafBytes }
  /// On the disk, of all paths together but for rounding; 0 where everything is in memory.
  package var fileBytes: Int { isOnDisk ? leaves * leafBytes : 0 }

  func bytesPerPath(_ paths: Int) -> Int { (leaves + paths - 1) / paths * leafBytes }
}

/// Bytes that a step leaves for itself, in leaves that are numbered from 0: written in ascending
/// order and read in descending order, once or again and again.
///
///     write 0, 1, 2 ...     frame = number modulo frames     ... 2, 1, 0 read
///           +-- written behind --> files without a name --read ahead--+
///
/// A leaf is copied in and out, or its frame is held while somebody fills or uses it; one is held at a
/// time.
///
/// Leaf n is in file n modulo files. With a frame for each leaf there are no files, and nothing is
/// ever written.
final class Scratch {
  let size: ScratchSize
  /// What to set so that there are no files, for errors.
  let setting: String
  let pool: FramePool
  let frames: [ScratchFrame]
  let files: [DiskFile]
  /// What was written of each leaf; nil before that.
  var written: [Written?]
  var inFlight: [UInt64: ScratchFrame] = [:]
  /// A transfer that failed, or bytes that are not those written: nothing more can be had.
  var failure: StorageError?

  struct Written {
    let byteCount: Int
    /// Nil before it is written, and while the frame's sum is that.
    var checksum: UInt64?
  }

  /// Lets the kernel see the frames.
  init(
    _ name: String, number: Int, _ size: ScratchSize, avoidedBy setting: String, on store: Store,
    ledger: MemoryLedger
  ) throws(StorageError) {
    do throws(MemoryError) {
      pool = try FramePool(
        name: name, frameCount: size.frames, frameBytes: size.leafBytes,
        ledger: ledger)
    } catch {
      throw .memory(error)
    }
    (self.size, self.setting) = (size, setting)
    let paths = store.description.activePaths.count
    files =
      size.isOnDisk
      ? try store.openScratch(
        number: number, bytesPerPath: size.bytesPerPath(paths), avoidedBy: setting) : []
    written = Array(repeating: nil, count: size.leaves)
    let pool = pool
    frames = (0..<size.frames).map { _ in ScratchFrame(pool) }
    for memory in pool.memory { store.disk.register(memory) }
  }

  /// Nobody looks at the frames any more.
  func cancelSums() {
    for frame in frames { frame.sum?.sum.cancel() }
  }

  func frame(of leaf: Int) -> ScratchFrame {
    precondition(leaf >= 0 && leaf < size.leaves, "a leaf of this scratch")
    return frames[leaf % frames.count]
  }

  func place(of leaf: Int) -> (file: DiskFile, offset: Int) {
    (files[leaf % files.count], leaf / files.count * size.leafBytes)
  }
}

/// A frame and the leaf that is in it.
final class ScratchFrame {
  private let frame: Frame
  /// Being read, if a read is in flight.
  var leaf: Int?
  var transfer: Transfer.Kind?
  /// Of the transfer.
  var tag: UInt64 = 0
  /// Of the transfer, if that is traced.
  var traced: TracedTransfer?
  /// The leaf is being read a second time.
  var isRepeated = false
  /// Being taken of what is in the frame: as it was written, or as it was read and is to be compared.
  /// The frame stays as it is meanwhile.
  var sum: (sum: LeafSum, of: Transfer.Kind)?

  fileprivate init(_ pool: FramePool) {
    guard let frame = pool.take() else { preconditionFailure("a frame for each of the pool's") }
    self.frame = frame
  }

  /// As many pages as `byteCount` bytes need.
  func memory(_ byteCount: Int) -> PinnedSlice {
    frame.slice(offset: 0, byteCount: roundUp(byteCount, to: 4096))
  }

  var memory: PinnedSlice { frame.memory }
}

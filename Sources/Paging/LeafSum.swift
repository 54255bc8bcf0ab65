import Base
import PinnedMemory
import Storage
import Synchronization

/// The checksum of a leaf of a scratch, which only the run that wrote it reads: that of its pieces'
/// checksums. Threads that wait take those while others compute.
final class LeafSum {
  private let work: SpareWork
  private let pieces: Pieces

  private final class Pieces: Sendable {
    let sums: Mutex<[UInt64]>
    init(count: Int) { sums = Mutex(Array(repeating: 0, count: count)) }
  }

  /// Some 10 microseconds from memory.
  private static let pieceBytes = 128 << 10

  /// - Parameters:
  ///   - memory: stays as it is until `value` or `cancel`.
  ///   - offer: to threads that wait (`Pager.offer`).
  init(_ memory: PinnedSlice, offer: (SpareWork) -> Void) {
    let size = Self.pieceBytes
    let count = (memory.byteCount + size - 1) / size
    let pieces = Pieces(count: count)
    work = SpareWork(count) { index in
      let first = index * size
      let sum = checksum(of: memory, first..<min(first + size, memory.byteCount))
      pieces.sums.withLock { $0[index] = sum }
    }
    self.pieces = pieces
    offer(work)
  }

  /// Takes what nobody has taken, by `forEach` side by side.
  func value(
    _ forEach: (_ count: Int, _ body: @Sendable (_ index: Int) -> Void) -> Void
  ) -> UInt64 {
    work.finish(forEach)
    return pieces.sums.withLock { checksum(of: $0) }
  }

  func cancel() { work.cancel() }
}

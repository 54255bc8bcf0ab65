import Base
import PinnedMemory

/// Memory of a probe: page-locked where the process may, on huge pages where there are some, beside
/// the processors of `node`.
final class ProbeMemory {
  private let region: PinnedRegion
  var slice: PinnedSlice { region.memory }

  init(byteCount: Int, node: Int? = nil) throws(ProbeError) {
    do throws(MemoryError) {
      region = try PinnedRegion(
        name: "buffers", byteCount: byteCount, placement: node.map { .node($0) } ?? .anywhere,
        ledger: MemoryLedger(ceiling: .max))
    } catch { throw .memory(error) }
  }
}

extension PinnedSlice {
  /// The `byteCount` bytes from `start` on.
  func part(from start: Int, byteCount: Int) -> PinnedSlice {
    precondition(0 <= start && start + byteCount <= self.byteCount, "the part is inside")
    return unsafe PinnedSlice(address: address + start, byteCount: byteCount)
  }
}

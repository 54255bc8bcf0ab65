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

extension ProbeMemory {
  /// Refuses buffers that the machine has no room for before the first page of them is touched: the
  /// kernel would end this process, or another, in the middle.
  ///
  /// - Parameters:
  ///   - windowBytes: of one lane; each site has one for each memory node with processors.
  ///   - more: bytes beside the lanes'.
  ///   - available: what the kernel says can be had without swapping; nil: it does not say.
  /// - Throws: `ProbeError.noMemory`.
  static func checkRoom(
    windowBytes: Int, sites: Int = 1, more: Int = 0,
    available: Int? = meminfo(text(of: "/proc/meminfo") ?? "")["MemAvailable"]
  ) throws(ProbeError) {
    let lanes = sites * max(1, Topology.current().nodes.count { !$0.cpus.isEmpty })
    let (windows, isHuge) = windowBytes.multipliedReportingOverflow(by: lanes)
    let (sum, isMore) = windows.addingReportingOverflow(more)
    let needed = isHuge || isMore ? Int.max : sum
    guard let available, needed > available else { return }
    throw .noMemory(needed: needed, available: available)
  }
}

extension PinnedSlice {
  /// The `byteCount` bytes from `start` on.
  func part(from start: Int, byteCount: Int) -> PinnedSlice {
    precondition(0 <= start && start + byteCount <= self.byteCount, "the part is inside")
    return unsafe PinnedSlice(address: address + start, byteCount: byteCount)
  }
}

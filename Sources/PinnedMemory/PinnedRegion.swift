package import Base
import Glibc

/// Where a region was asked to be, and where it was when that was asked.
package struct RegionPlace: Sendable {
  package let name: String
  package let byteCount: Int
  package let hugeBytes: Int
  package let placement: MemoryPlacement
  /// nil where the kernel does not say.
  package let census: PageCensus?
}

/// One mapping of anonymous memory: present, on the nodes asked for, locked where the process may
/// lock, on huge pages where the machine gives them.
///
/// Owner of the mapping; the slices it lends are valid as long as it lives.
@safe package struct PinnedRegion: ~Copyable, @unchecked Sendable {
  // @unchecked Sendable: the mapping never moves; who may touch which bytes is decided by the owner
  // of the slice.

  package let name: String
  /// All bytes, zero at creation; starts at a multiple of 2 MiB when it is at least so large, else
  /// 4 KiB.
  package let memory: PinnedSlice
  package let lock: PageLock
  package let placement: MemoryPlacement
  /// Where the pages were at creation; nil where nodes were not asked for or cannot be seen.
  package let census: PageCensus?
  package var isLocked: Bool { lock == .locked }

  /// The node that holds every page; nil where that is not one or not known.
  package var node: Int? {
    census.map { $0.misplaced(from: placement) } == 0 ? placement.node : nil
  }

  private let mapping: Mapping

  /// Maps `byteCount` bytes, rounded up to 4 KiB, after asking `ledger` for them as `name`.
  package init(
    name: String, byteCount: Int, placement: MemoryPlacement = .anywhere, ledger: MemoryLedger
  ) throws(MemoryError) {
    precondition(byteCount > 0, "a region has bytes")
    let size = roundUp(byteCount, to: Mapping.pageBytes)
    do { try ledger.grant(name, bytes: size) } catch { throw .refused(error) }

    if let huge = Self.huge(size, placement, ledger) {
      mapping = huge
      lock = .locked  // The kernel never swaps huge pages that were set aside.
    } else {
      guard let ordinary = Mapping.ordinary(size) else {
        throw .mapping(name: name, bytes: size, code: errno)
      }
      ordinary.place(placement, .preferred)
      if !ordinary.populate() { ordinary.touch() }
      mapping = ordinary
      lock = unsafe PageLock.lock(ordinary.bytes)
    }
    self.name = name
    self.placement = placement
    memory = unsafe PinnedSlice(address: mapping.bytes.baseAddress!, byteCount: size)
    census = Self.settle(mapping, memory, placement)
  }

  deinit { mapping.unmap() }

  /// Its pages counted anew.
  package var place: RegionPlace {
    RegionPlace(
      name: name, byteCount: memory.byteCount, hugeBytes: hugeBytes, placement: placement,
      census: PageCensus.of(memory))
  }

  /// Bytes that are on huge pages now.
  package var hugeBytes: Int { unsafe min(memory.byteCount, hugePageBytes(around: memory.address)) }

  /// The region on huge pages that were set aside; nil when it is small, or there are too few on
  /// its nodes. What is lost at its end is the ledger's too.
  private static func huge(
    _ size: Int, _ placement: MemoryPlacement, _ ledger: MemoryLedger
  ) -> Mapping? {
    let rounded = roundUp(size, to: Mapping.hugeBytes)
    guard size >= Mapping.hugeBytes, rounded - size <= ledger.left,
      let mapping = Mapping.huge(rounded)
    else { return nil }
    mapping.place(placement, .strict)
    let isWhole = rounded == size
    if mapping.populate(),
      isWhole || (try? ledger.grant("end of the last huge page", bytes: rounded - size)) != nil
    {
      return mapping
    }
    mapping.unmap()
    return nil
  }

  /// Counts the pages and, where some are on other nodes, has them moved once and counts again.
  private static func settle(
    _ mapping: Mapping, _ memory: PinnedSlice, _ placement: MemoryPlacement
  ) -> PageCensus? {
    guard placement != .anywhere, let first = PageCensus.of(memory) else { return nil }
    if first.misplaced(from: placement) == 0 { return first }
    mapping.place(placement, .moving)
    return PageCensus.of(memory)
  }
}

// MARK: - What to tell the user

extension PinnedRegion {
  /// Pages that are not where they were asked to be, and why that may be; nil when all are.
  package var placementNote: String? {
    guard placement != .anywhere else { return nil }
    let wanted = placement.nodes.map(String.init).joined(separator: ", ")
    guard let census else {
      return "\(name): whether its pages are on node \(wanted) cannot be seen: the kernel refuses "
        + "move_pages (a container needs CAP_SYS_NICE for it)"
    }
    let misplaced = census.misplaced(from: placement)
    guard misplaced > 0 else { return nil }
    let elsewhere = census.pagesByNode.filter { !placement.nodes.contains($0.key) }
      .sorted { $0.key < $1.key }.map { "\($0.value) on node \($0.key)" }
    return "\(name): \(misplaced) of \(census.pages) pages are not on node \(wanted) but "
      + elsewhere.joined(separator: ", ")
      + ": the node is full (free memory there or lower --memory), or a container lacks "
      + "CAP_SYS_NICE"
  }
}

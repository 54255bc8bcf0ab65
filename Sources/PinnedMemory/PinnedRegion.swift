package import Base
internal import CNuma
import Glibc

/// One mapping of anonymous memory: present, bound to a node, locked where the process may lock.
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
  package var isLocked: Bool { lock == .locked }

  private static let pageBytes = 4096
  private static let hugeBytes = 2 << 20

  /// Maps `byteCount` bytes, rounded up to 4 KiB, after asking `ledger` for them as `name`.
  /// - Parameter node: the memory node to bind to; nil leaves it to the kernel.
  package init(
    name: String, byteCount: Int, node: Int? = nil, ledger: MemoryLedger
  ) throws(MemoryError) {
    precondition(byteCount > 0, "a region has bytes")
    let size = roundUp(byteCount, to: Self.pageBytes)
    do { try ledger.grant(name, bytes: size) } catch { throw .refused(error) }
    guard let bytes = unsafe Self.map(size) else {
      throw .mapping(name: name, bytes: size, code: errno)
    }

    if size >= Self.hugeBytes { unsafe madvise(bytes.baseAddress, size, MADV_HUGEPAGE) }
    if let node { unsafe Self.bind(bytes, to: node) }
    lock = unsafe PageLock.lock(bytes)
    if lock != .locked { unsafe Self.makePresent(bytes) }
    self.name = name
    memory = unsafe PinnedSlice(address: bytes.baseAddress!, byteCount: size)
  }

  deinit { unsafe munmap(memory.address, memory.byteCount) }

  /// Maps `size` bytes; large ones start on a huge page, by mapping more and giving back the ends.
  private static func map(_ size: Int) -> UnsafeMutableRawBufferPointer? {
    let extra = size >= hugeBytes ? hugeBytes : 0
    let start = unsafe mmap(
      nil, size + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let start = unsafe start, unsafe start != UnsafeMutableRawPointer(bitPattern: -1) else {
      return nil
    }
    if extra == 0 { return unsafe UnsafeMutableRawBufferPointer(start: start, count: size) }
    let head = roundUp(Int(bitPattern: start), to: hugeBytes) - Int(bitPattern: start)
    if head > 0 { unsafe munmap(start, head) }
    if extra - head > 0 { unsafe munmap(start + head + size, extra - head) }
    return unsafe UnsafeMutableRawBufferPointer(start: start + head, count: size)
  }

  /// Binds to a node. Only placement is lost when the kernel says no (as in containers without
  /// CAP_SYS_NICE), so its answer is not an error.
  private static func bind(_ bytes: UnsafeMutableRawBufferPointer, to node: Int) {
    precondition(0 <= node && node < 64, "memory nodes fit one mask word")
    var mask: UInt = 1 << UInt(node)
    unsafe _ = mbind(bytes.baseAddress, UInt(bytes.count), Int32(MPOL_BIND), &mask, 65, 0)
  }

  /// Faults every page in now, so that the resident set is known before the run starts.
  private static func makePresent(_ bytes: UnsafeMutableRawBufferPointer) {
    if unsafe madvise(bytes.baseAddress, bytes.count, MADV_POPULATE_WRITE) == 0 { return }
    for offset in stride(from: 0, to: bytes.count, by: pageBytes) { unsafe bytes[offset] = 0 }
  }
}

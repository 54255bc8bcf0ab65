internal import Base
internal import CNuma
import Glibc

/// Anonymous memory from the kernel, and what can be asked of it. Without an owner:
/// `PinnedRegion` is that.
@safe struct Mapping {
  let bytes: UnsafeMutableRawBufferPointer
  var byteCount: Int { unsafe bytes.count }

  static let pageBytes = 4096
  static let hugeBytes = 2 << 20

  /// Maps `size` bytes of 4 KiB pages; large ones start on a huge page, by mapping more and giving
  /// back the ends, and ask for transparent huge pages.
  static func ordinary(_ size: Int) -> Mapping? {
    let extra = size >= hugeBytes ? hugeBytes : 0
    guard let start = unsafe map(size + extra, 0) else { return nil }
    if extra == 0 { return unsafe Mapping(start, size) }
    let head = roundUp(Int(bitPattern: start), to: hugeBytes) - Int(bitPattern: start)
    if head > 0 { unsafe munmap(start, head) }
    if extra - head > 0 { unsafe munmap(start + head + size, extra - head) }
    unsafe madvise(start + head, size, MADV_HUGEPAGE)
    return unsafe Mapping(start + head, size)
  }

  /// Maps `size` bytes, a multiple of 2 MiB, of huge pages that were set aside; nil when there are
  /// not so many.
  static func huge(_ size: Int) -> Mapping? {
    precondition(size % hugeBytes == 0, "huge pages are whole")
    // MAP_HUGE_2MB, a macro of macros: the binary logarithm of the size from bit 26 on.
    let twoMebibytes: Int32 = 21 << 26
    guard let start = unsafe map(size, CNuma.MAP_HUGETLB | twoMebibytes) else { return nil }
    return unsafe Mapping(start, size)
  }

  private static func map(_ size: Int, _ flags: Int32) -> UnsafeMutableRawPointer? {
    let start = unsafe mmap(
      nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0)
    return unsafe start == UnsafeMutableRawPointer(bitPattern: -1) ? nil : start
  }

  private init(_ start: UnsafeMutableRawPointer, _ size: Int) {
    unsafe bytes = UnsafeMutableRawBufferPointer(start: start, count: size)
  }

  func unmap() { unsafe _ = munmap(bytes.baseAddress, byteCount) }

  /// Faults every page in now, so that the resident set is known before the run starts.
  /// - Returns: false when the kernel cannot populate: it is too old, or huge pages ran out.
  func populate() -> Bool {
    unsafe madvise(bytes.baseAddress, byteCount, MADV_POPULATE_WRITE) == 0
  }

  /// The same page by page, for kernels before 5.14.
  func touch() {
    for offset in stride(from: 0, to: byteCount, by: Self.pageBytes) { unsafe bytes[offset] = 0 }
  }

  /// How a node is asked for.
  enum Firmness {
    /// The node first, others when it is full.
    case preferred
    /// The node or none. Only where failure comes back as an error: for ordinary pages on a node
    /// that fills up meanwhile it comes as the kernel's out-of-memory killer.
    case strict
    /// As `preferred`, and pages that are elsewhere are moved, as far as the node has room.
    case moving
  }

  /// Asks for `placement`. Only placement is lost when the kernel says no, so its answer is not an
  /// error: the census shows what came of it.
  func place(_ placement: MemoryPlacement, _ firmness: Firmness) {
    guard placement != .anywhere else { return }
    if firmness == .moving {
      // Pages move to where a strict binding wants them; what is faulted in later need not be.
      bind(placement.nodes, placement.node == nil ? MPOL_INTERLEAVE : MPOL_BIND, MPOL_MF_MOVE)
    }
    let single = firmness == .strict ? MPOL_BIND : MPOL_PREFERRED
    bind(placement.nodes, placement.node == nil ? MPOL_INTERLEAVE : single, 0)
  }

  private func bind(_ nodes: [Int], _ mode: some BinaryInteger, _ flags: some BinaryInteger) {
    var mask = [UInt](repeating: 0, count: 16)
    for node in nodes {
      precondition((0..<1024).contains(node), "memory nodes fit the mask")
      mask[node / 64] |= 1 << UInt(node % 64)
    }
    unsafe _ = mbind(
      bytes.baseAddress, UInt(byteCount), Int32(mode), &mask, 1025, UInt32(flags))
  }
}

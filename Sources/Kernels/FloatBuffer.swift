internal import CMemoryMap
import Glibc

/// Owned floats: zeroed, 64-byte aligned (page aligned, in fact), mapped by themselves so that the
/// memory really goes back to the system when the last view is gone.
///
/// Costs whole pages, huge ones where it is large and the system has them: for a few large buffers
/// allocated at start, not for many small ones. In debug builds a canary behind the last float is
/// checked when the buffer dies.
///
/// @unchecked Sendable: the mapping never moves. Views may be handed to several threads; who writes
/// which elements is the business of the caller, and each kernel says which it writes.
@safe @usableFromInline package final class FloatBuffer: @unchecked Sendable {
  @usableFromInline let base: UnsafeMutablePointer<Float>
  package let count: Int
  private let mappedByteCount: Int
  private let owner: FloatBuffer?

  private static let canary: Float = -0x1.5a5a5ap99
  private static let canaryCount = 16
  private static let hugeBytes = 2 << 20

  /// `count` zeros.
  package init(count: Int) {
    precondition(count >= 0, "a buffer of \(count) floats")
    let byteCount = (count + Self.canaryCount) * MemoryLayout<Float>.stride
    let address = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      preconditionFailure("no memory for \(byteCount) bytes of floats: errno \(errno)")
    }
    unsafe base = address.assumingMemoryBound(to: Float.self)
    self.count = count
    mappedByteCount = byteCount
    owner = nil
    assert(placeCanary())
    // A product walks down columns, a page a row: with huge ones the processor knows where all are.
    if byteCount >= Self.hugeBytes { _ = unsafe madvise(address, byteCount, MADV_HUGEPAGE) }
  }

  /// Floats of somebody else's memory, which stays mapped while views of this are used.
  @unsafe package init(borrowing memory: UnsafeMutableRawBufferPointer) {
    guard let address = memory.baseAddress else { preconditionFailure("memory to borrow") }
    unsafe base = address.assumingMemoryBound(to: Float.self)
    count = memory.count / MemoryLayout<Float>.stride
    mappedByteCount = 0
    owner = nil
  }

  /// The floats of `owner`, which lives as long as this.
  init(sharing owner: FloatBuffer) {
    unsafe base = owner.base
    count = owner.count
    mappedByteCount = 0
    self.owner = owner
  }

  deinit {
    guard mappedByteCount > 0 else { return }
    assert(canaryIsAlive, "something wrote past the end of a buffer of \(count) floats")
    unsafe munmap(base, mappedByteCount)
  }

  private func placeCanary() -> Bool {
    for i in count..<count + Self.canaryCount { unsafe base[i] = Self.canary }
    return true
  }

  /// Whether nothing wrote past the end. Meaningful in debug builds only.
  package var canaryIsAlive: Bool {
    (count..<count + Self.canaryCount).allSatisfy { i in unsafe base[i] == Self.canary }
  }

  /// All floats, for reading. The caller sees to it that nobody writes meanwhile.
  package var span: Span<Float> {
    @_lifetime(borrow self) get {
      let span = unsafe Span(_unsafeStart: base, count: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// Makes all floats of `range` zero; the memory of whole pages goes back to the system until they
  /// are touched again. The caller sees to it that nobody reads or writes them meanwhile.
  package func discard(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range inside the buffer")
    let floatsPerPage = Int(getpagesize()) / MemoryLayout<Float>.stride
    let first = (range.lowerBound + floatsPerPage - 1) / floatsPerPage * floatsPerPage
    let last = range.upperBound / floatsPerPage * floatsPerPage
    guard first < last else { return clear(range) }
    clear(range.lowerBound..<first)
    clear(last..<range.upperBound)
    let bytes = (last - first) * MemoryLayout<Float>.stride
    let result = unsafe madvise(base + first, bytes, MADV_DONTNEED)
    precondition(result == 0, "the kernel takes back what it gave: errno \(errno)")
  }

  /// Gives the pages of `range` memory now, huge ones where they lie in it entirely. Where a sum begins
  /// with a read, as in a product that adds to its output, each page would else cost two faults, and the
  /// second of them interrupts every processor. A kernel that cannot (before 5.14) leaves it at that.
  package func populate(_ range: Range<Int>, on workers: Workers = .inline) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range inside the buffer")
    guard !range.isEmpty else { return }
    let start = unsafe UnsafeMutableRawPointer(base)
    let pageBytes = Int(getpagesize())
    let first = range.lowerBound * MemoryLayout<Float>.stride / pageBytes * pageBytes
    let end = range.upperBound * MemoryLayout<Float>.stride
    let huge = huge(inside: range)
    if !huge.isEmpty { _ = unsafe madvise(start + huge.lowerBound, huge.count, MADV_HUGEPAGE) }
    // Pieces end where huge pages do.
    let shift = Int(bitPattern: start) % Self.pieceBytes
    let pieces = (first + shift) / Self.pieceBytes...(end - 1 + shift) / Self.pieceBytes
    workers.forEach(pieces.count) { index in
      let piece = (pieces.lowerBound + index) * Self.pieceBytes - shift
      let (from, to) = (max(first, piece), min(end, piece + Self.pieceBytes))
      _ = unsafe madvise(base + from / MemoryLayout<Float>.stride, to - from, MADV_POPULATE_WRITE)
    }
  }

  private static let pieceBytes = 8 << 20

  /// As `discard(source)` and `populate(range)`, but what huge pages `source` has become those of `range`
  /// where both have them at the same places (`alike`): that clears nothing, and asks the system for
  /// nothing, which takes it long where memory is in pieces. `source` is populated and as long. The floats
  /// of `range` are zeros if those of both were, and else left open.
  package func populate(
    _ range: Range<Int>, takingFrom source: Range<Int>, on workers: Workers = .inline
  ) {
    precondition(mappedByteCount > 0, "memory of this buffer's own")
    for range in [range, source] {
      precondition(range.lowerBound >= 0 && range.upperBound <= count, "range inside the buffer")
    }
    precondition(!range.overlaps(source) && range.count == source.count, "as many floats elsewhere")
    let (from, to) = (huge(inside: source), huge(inside: range))
    if alike(range, source), !from.isEmpty {
      let start = unsafe UnsafeMutableRawPointer(base)
      let code = unsafe pagoda_move_pages(
        start + from.lowerBound, start + to.lowerBound, from.count)
      precondition(code == 0 || code == EINVAL, "pages move inside a buffer: errno \(code)")
    }
    discard(source)
    populate(range, on: workers)
  }

  /// Whether two ranges have huge pages at the same places: they begin a multiple of 2 MiB apart.
  package func alike(_ range: Range<Int>, _ other: Range<Int>) -> Bool {
    (range.lowerBound - other.lowerBound) * MemoryLayout<Float>.stride % Self.hugeBytes == 0
  }

  /// The bytes of the huge pages that lie in `range` entirely, from the start of the buffer.
  private func huge(inside range: Range<Int>) -> Range<Int> {
    let shift = unsafe Int(bitPattern: UnsafeMutableRawPointer(base)) % Self.hugeBytes
    let floatBytes = MemoryLayout<Float>.stride
    let first = (range.lowerBound * floatBytes + shift + Self.hugeBytes - 1) / Self.hugeBytes
    let end = (range.upperBound * floatBytes + shift) / Self.hugeBytes
    return first * Self.hugeBytes - shift..<max(first, end) * Self.hugeBytes - shift
  }

  /// Asks for no huge pages but in what is populated, for a buffer of which parts are discarded: touching
  /// a byte of what was discarded would take 2 MiB. A system that has none refuses, which is as good.
  package func keepSmallPages() {
    _ = unsafe madvise(base, mappedByteCount, MADV_NOHUGEPAGE)
  }

  /// Makes all floats of `range` zero; its memory stays.
  package func clear(_ range: Range<Int>, on workers: Workers) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range inside the buffer")
    workers.forEachChunk(of: range.count, size: Self.floatsPerTask) { chunk in
      clear(range.lowerBound + chunk.lowerBound..<range.lowerBound + chunk.upperBound)
    }
  }

  private static let floatsPerTask = 1 << 16

  private func clear(_ range: Range<Int>) {
    for i in range { unsafe base[i] = 0 }
  }

  /// A row-major view of `rows` times `columns` floats from `offset` on.
  package func matrix(rows: Int, columns: Int, offset: Int = 0) -> Matrix {
    Matrix(buffer: self, offset: offset, rows: rows, columns: columns, stride: columns)
  }
}

import Base
import Glibc

/// Owned elements, zero at first, on huge pages where the machine gives them, as pools of frames are.
///
/// @unchecked Sendable: the mapping never moves; a benchmark sees to it that one loop at a time
/// writes.
@safe package final class Vector<Element: BitwiseCopyable>: @unchecked Sendable {
  private let base: UnsafeMutablePointer<Element>
  package let count: Int
  private let byteCount: Int

  package init(count: Int) {
    precondition(count > 0, "a vector has elements")
    byteCount = roundUp(count * MemoryLayout<Element>.stride, to: 2 << 20)
    let address = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      preconditionFailure("no memory for \(byteCount) bytes: errno \(errno)")
    }
    unsafe madvise(address, byteCount, MADV_HUGEPAGE)
    unsafe base = address.bindMemory(to: Element.self, capacity: count)
    self.count = count
  }

  deinit { unsafe munmap(base, byteCount) }

  /// All elements, to read.
  package var span: Span<Element> {
    @_lifetime(borrow self) get {
      let span = unsafe Span(_unsafeStart: base, count: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// All elements, to write.
  package var mutableSpan: MutableSpan<Element> {
    @_lifetime(borrow self) get {
      let span = unsafe MutableSpan(_unsafeStart: base, count: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The memory, for loops in C.
  @unsafe package var bytes: UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(
      start: base, count: count * MemoryLayout<Element>.stride)
  }
}

/// A span that tasks on several threads may cut up: closures cannot capture spans. Lives only
/// inside the function that fenced it, which holds the spans exclusively meanwhile.
///
/// @unchecked Sendable: each task takes a range that no other task takes.
@safe package struct Fence<Element: BitwiseCopyable>: @unchecked Sendable {
  private let base: UnsafeMutablePointer<Element>?
  private let count: Int

  package init(_ span: inout MutableSpan<Element>) {
    count = span.count
    unsafe base = span.withUnsafeMutableBufferPointer { $0.baseAddress }
  }

  @unsafe fileprivate init(base: UnsafeMutablePointer<Element>, count: Int) {
    unsafe (self.base, self.count) = (base, count)
  }

  /// For reading only.
  package init(_ span: Span<Element>) {
    count = span.count
    unsafe base = span.withUnsafeBufferPointer {
      unsafe UnsafeMutablePointer(mutating: $0.baseAddress)
    }
  }

  @_lifetime(immortal)
  package func mutable(_ range: Range<Int>) -> MutableSpan<Element> {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range inside the span")
    guard let base = unsafe base else { preconditionFailure("an empty span has no range") }
    let span = unsafe MutableSpan(_unsafeStart: base + range.lowerBound, count: range.count)
    return unsafe _overrideLifetime(span, borrowing: ())
  }

  @_lifetime(immortal)
  package func span(_ range: Range<Int>) -> Span<Element> {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range inside the span")
    guard let base = unsafe base else { preconditionFailure("an empty span has no range") }
    let span = unsafe Span(_unsafeStart: base + range.lowerBound, count: range.count)
    return unsafe _overrideLifetime(span, borrowing: ())
  }
}

extension Fence<Float> {
  /// A row, which its matrix lets everybody write to; the matrix must outlive this.
  package init(_ row: borrowing Row) {
    unsafe self.init(base: row.base, count: row.count)
  }
}

extension Fence {
  /// Where the first element lies, of a span that has any. Only for kernels that call C.
  @unsafe var pointer: UnsafeMutablePointer<Element> {
    guard let base = unsafe base else { preconditionFailure("an empty span lies nowhere") }
    return unsafe base
  }
}

extension Fence<UInt8> {
  /// Bytes from `offset` on, a multiple of their alignment, as `count` values of another type.
  @_lifetime(immortal)
  package func mutable<Value: BitwiseCopyable>(
    _ type: Value.Type, at offset: Int, count: Int
  ) -> MutableSpan<Value> {
    var bytes = mutable(offset..<offset + count * MemoryLayout<Value>.stride)
    let start = unsafe bytes.withUnsafeMutableBufferPointer {
      UnsafeMutableRawPointer($0.baseAddress)
    }
    guard let start = unsafe start else { preconditionFailure("an empty span has no values") }
    precondition(
      UInt(bitPattern: start) % UInt(MemoryLayout<Value>.alignment) == 0, "values are aligned")
    let span = unsafe MutableSpan(
      _unsafeStart: start.assumingMemoryBound(to: Value.self), count: count)
    return unsafe _overrideLifetime(span, borrowing: ())
  }
}

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

import CPrefetch

/// Elements that a long loop goes over between two looks ahead: few enough that the cache lines asked
/// for at once are not more than a core can wait for.
let stripElements = 64
/// How far ahead it looks. A processor fetches on its own what comes next in an array, but only to the
/// end of a page, and begins anew at the next.
private let elementsAhead = 512

@inline(__always)
@unsafe private func fetch<Element: BitwiseCopyable>(
  _ base: UnsafePointer<Element>, after start: Int
) {
  let first = unsafe UnsafeRawPointer(base + (start + elementsAhead))
  for line in 0..<stripElements * MemoryLayout<Element>.stride / 64 {
    unsafe pagoda_prefetch(first + 64 * line)
  }
}

extension Span where Element: BitwiseCopyable {
  /// Asks for what a loop comes to soon, while it goes over the strip from `start`.
  @inline(__always)
  func fetchAhead(of start: Int) {
    unsafe withUnsafeBufferPointer { unsafe fetch($0.baseAddress!, after: start) }
  }
}

extension MutableSpan where Element: BitwiseCopyable {
  /// As that of `Span`.
  @inline(__always)
  func fetchAhead(of start: Int) {
    unsafe withUnsafeBufferPointer { unsafe fetch($0.baseAddress!, after: start) }
  }
}

extension Row {
  /// As that of `Span`.
  @inline(__always)
  func fetchAhead(of start: Int) {
    unsafe fetch(base, after: start)
  }
}

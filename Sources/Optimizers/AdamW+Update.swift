package import Kernels

/// 8192 elements: 208 KiB of planes, moments and gradient, so a chunk stays in a core's cache.
private let elementsPerTask = 8192

extension AdamWStep {
  /// Updates weights held as two halves (see `splitMaster`), and their moments, in one pass. All
  /// planes have as many elements as `gradient`. The same bits as the form for whole floats.
  package func update(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, m: inout MutableSpan<Float>,
    v: inout MutableSpan<Float>, gradient: Span<Float>, on workers: Workers
  ) {
    let count = gradient.count
    precondition(hi.count == count, "one hi half per gradient")
    precondition(lo.count == count, "one lo half per gradient")
    precondition(m.count == count, "one first moment per gradient")
    precondition(v.count == count, "one second moment per gradient")
    let (hi, lo, m, v) = (Fence(&hi), Fence(&lo), Fence(&m), Fence(&v))
    let gradient = Fence(gradient)
    workers.forEachChunk(of: count, size: elementsPerTask) { range in
      var hi = hi.mutable(range)
      var lo = lo.mutable(range)
      var m = m.mutable(range)
      var v = v.mutable(range)
      updateChunk(&hi, &lo, &m, &v, gradient.span(range))
    }
  }

  /// Updates weights held as floats, and their moments.
  package func update(
    weights: inout MutableSpan<Float>, m: inout MutableSpan<Float>, v: inout MutableSpan<Float>,
    gradient: Span<Float>, on workers: Workers
  ) {
    let count = gradient.count
    precondition(weights.count == count, "one weight per gradient")
    precondition(m.count == count, "one first moment per gradient")
    precondition(v.count == count, "one second moment per gradient")
    let (weights, m, v) = (Fence(&weights), Fence(&m), Fence(&v))
    let gradient = Fence(gradient)
    workers.forEachChunk(of: count, size: elementsPerTask) { range in
      var weights = weights.mutable(range)
      var m = m.mutable(range)
      var v = v.mutable(range)
      updateChunk(&weights, &m, &v, gradient.span(range))
    }
  }

  /// The same for weights in a matrix of one row, and their moments.
  package func update(
    weights: Matrix, m: Matrix, v: Matrix, gradient: Matrix, on workers: Workers
  ) {
    for other in [weights, m, v] {
      precondition(other.rows == 1 && other.columns == gradient.columns, "one row of one length")
    }
    workers.forEachChunk(of: gradient.columns, size: elementsPerTask) { range in
      let (weights, m, v) = (weights.columns(range), m.columns(range), v.columns(range))
      updateRow(weights.row(0), m.row(0), v.row(0), gradient.columns(range).row(0))
    }
  }

  private func updateRow(
    _ weights: borrowing Row, _ m: borrowing Row, _ v: borrowing Row, _ gradient: borrowing Row
  ) {
    for i in 0..<gradient.count {
      var (mean, square) = (m[i], v[i])
      weights[i] = updated(weights[i], &mean, &square, gradient[i])
      (m[i], v[i]) = (mean, square)
    }
  }

  private func updateChunk(
    _ hi: inout MutableSpan<UInt16>, _ lo: inout MutableSpan<UInt16>,
    _ m: inout MutableSpan<Float>, _ v: inout MutableSpan<Float>, _ gradient: Span<Float>
  ) {
    for i in gradient.indices {
      let weight = joinMaster(hi: hi[i], lo: lo[i])
      (hi[i], lo[i]) = splitMaster(updated(weight, &m[i], &v[i], gradient[i]))
    }
  }

  private func updateChunk(
    _ weights: inout MutableSpan<Float>, _ m: inout MutableSpan<Float>,
    _ v: inout MutableSpan<Float>, _ gradient: Span<Float>
  ) {
    for i in gradient.indices {
      weights[i] = updated(weights[i], &m[i], &v[i], gradient[i])
    }
  }
}

/// A span that tasks on several threads may cut up: closures cannot capture spans. Lives only
/// inside the function that fenced it, which holds the spans exclusively meanwhile.
///
/// @unchecked Sendable: each task takes a range that no other task takes.
@safe private struct Fence<Element: BitwiseCopyable>: @unchecked Sendable {
  private let base: UnsafeMutablePointer<Element>?
  private let count: Int

  init(_ span: inout MutableSpan<Element>) {
    count = span.count
    unsafe base = span.withUnsafeMutableBufferPointer { $0.baseAddress }
  }

  /// For reading only.
  init(_ span: Span<Element>) {
    count = span.count
    unsafe base = span.withUnsafeBufferPointer {
      unsafe UnsafeMutablePointer(mutating: $0.baseAddress)
    }
  }

  @_lifetime(immortal)
  func mutable(_ range: Range<Int>) -> MutableSpan<Element> {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range inside the span")
    guard let base = unsafe base else { preconditionFailure("an empty span has no range") }
    let span = unsafe MutableSpan(_unsafeStart: base + range.lowerBound, count: range.count)
    return unsafe _overrideLifetime(span, borrowing: ())
  }

  @_lifetime(immortal)
  func span(_ range: Range<Int>) -> Span<Element> {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range inside the span")
    guard let base = unsafe base else { preconditionFailure("an empty span has no range") }
    let span = unsafe Span(_unsafeStart: base + range.lowerBound, count: range.count)
    return unsafe _overrideLifetime(span, borrowing: ())
  }
}

package import Kernels

extension Workers {
  /// Calls `body` with elements 0 ..< `count` in chunks of 8192, the last one of what is left: at most
  /// 128 KiB of planes, moments and gradient, so a chunk stays in a core's cache. A worker takes up to 16
  /// chunks in a row, since loops that look ahead (`fetchAhead`) fetch the next one's elements for
  /// themselves, not for another core.
  func forEachUpdated(of count: Int, _ body: @Sendable (Range<Int>) -> Void) {
    let size = 8192
    let chunks = (count + size - 1) / size
    let run = size * min(max(1, chunks / (4 * self.count)), 16)
    forEachChunk(of: count, size: run) { range in
      for start in stride(from: range.lowerBound, to: range.upperBound, by: size) {
        body(start..<min(start + size, range.upperBound))
      }
    }
  }
}

/// AdamW on some parameters of a block.
package struct AdamWPart: Sendable {
  /// Counted from the block's first.
  package let elements: Range<Int>
  package let step: AdamWStep

  package init(_ elements: Range<Int>, _ step: AdamWStep) {
    (self.elements, self.step) = (elements, step)
  }
}

/// Updates those parameters of a block that `parts` have, in ascending order, in one pass. Weights are
/// held as two halves (see `splitMaster`).
/// - Parameters:
///   - hi, lo, m, v: as many elements as `gradient`.
///   - before, changed: called by each worker with the parameters that it updates next, and when it has,
///     while their bytes are in its cache; those of all calls together are the block's.
package func updateParts(
  _ parts: [AdamWPart], hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>,
  m: inout MutableSpan<Float>, v: inout MutableSpan<Float>, gradient: Span<Float>,
  on workers: Workers, before: @Sendable (Range<Int>) -> Void = { _ in },
  changed: @Sendable (Range<Int>) -> Void = { _ in }
) {
  let count = gradient.count
  precondition(hi.count == count, "one hi half per gradient")
  precondition(lo.count == count, "one lo half per gradient")
  precondition(m.count == count, "one first moment per gradient")
  precondition(v.count == count, "one second moment per gradient")
  for (part, following) in zip(parts, parts.dropFirst().map(\.elements) + [count..<count]) {
    precondition(
      part.elements.lowerBound >= 0 && part.elements.upperBound <= following.lowerBound,
      "parts lie inside, in order")
  }
  let (hi, lo, m, v) = (Fence(&hi), Fence(&lo), Fence(&m), Fence(&v))
  let gradient = Fence(gradient)
  workers.forEachUpdated(of: count) { chunk in
    before(chunk)
    for part in parts where part.elements.overlaps(chunk) {
      let range = part.elements.clamped(to: chunk)
      var hi = hi.mutable(range)
      var lo = lo.mutable(range)
      var m = m.mutable(range)
      var v = v.mutable(range)
      part.step.update(hi: &hi, lo: &lo, m: &m, v: &v, gradient.span(range))
    }
    changed(chunk)
  }
}

extension AdamWStep {
  /// Updates weights held as two halves, and their moments, in one pass. The same bits as the form for
  /// whole floats.
  package func update(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, m: inout MutableSpan<Float>,
    v: inout MutableSpan<Float>, gradient: Span<Float>, on workers: Workers
  ) {
    updateParts(
      [AdamWPart(0..<gradient.count, self)], hi: &hi, lo: &lo, m: &m, v: &v, gradient: gradient,
      on: workers)
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
    workers.forEachUpdated(of: count) { range in
      var weights = weights.mutable(range)
      var m = m.mutable(range)
      var v = v.mutable(range)
      update(weights: &weights, m: &m, v: &v, gradient.span(range))
    }
  }

  /// The same for weights in a matrix of one row, and their moments. Of the gradient zeros are left,
  /// written while it is in the caches: the next step adds to them.
  package func update(
    weights: Matrix, m: Matrix, v: Matrix, gradient: Matrix, on workers: Workers
  ) {
    for other in [weights, m, v] {
      precondition(other.rows == 1 && other.columns == gradient.columns, "one row of one length")
    }
    workers.forEachUpdated(of: gradient.columns) { range in
      let (weights, m, v) = (weights.columns(range), m.columns(range), v.columns(range))
      let gradient = gradient.columns(range)
      update(weights: weights.row(0), m: m.row(0), v: v.row(0), gradient.row(0))
      gradient.fill(0)
    }
  }
}

/// Rows of activations as they are stored: as floats, or as bfloat16 once they were rounded to that.
///
/// 64 KiB of floats: enough work for a worker to be woken for.
private let floatsPerTask = 16384

/// The nearest bfloat16 as a float, to even at a tie. A NaN stays one: to add half a unit would
/// carry some of them over into numbers.
@inlinable
package func nearestBfloat16(_ x: Float) -> Float {
  let bits = x.bitPattern
  let rounded = bits &+ 0x7FFF &+ (bits &>> 16 & 1)
  return Float(bitPattern: (x == x ? rounded : bits | 0x0040_0000) & 0xFFFF_0000)
}

/// Rounds every element of `x` to the nearest bfloat16, in place.
package func roundToBfloat16(_ x: Matrix, on workers: Workers) {
  let flat = x.flat
  workers.forEachChunk(of: flat.columns, size: floatsPerTask) { range in
    roundChunk(flat.columns(range).row(0))
  }
}

/// Writes `x`, whose elements are bfloat16 numbers, into as many halves, in row order.
package func narrow(_ x: Matrix, into halves: inout MutableSpan<UInt16>, on workers: Workers) {
  let flat = x.flat
  precondition(halves.count == flat.columns, "one half per element")
  let target = Fence(&halves)
  workers.forEachChunk(of: flat.columns, size: floatsPerTask) { range in
    var part = target.mutable(range)
    narrowChunk(flat.columns(range).row(0), into: &part)
  }
}

/// The same back: as many halves as floats.
package func widen(_ halves: Span<UInt16>, intoRows x: Matrix, on workers: Workers) {
  widen(halves, into: SpacedFloats(x.flat), on: workers)
}

/// Writes `x` into as many floats, in row order.
package func store(_ x: Matrix, into floats: inout MutableSpan<Float>, on workers: Workers) {
  let flat = x.flat
  precondition(floats.count == flat.columns, "as many floats")
  let target = Fence(&floats)
  workers.forEachChunk(of: flat.columns, size: floatsPerTask) { range in
    var part = target.mutable(range)
    flat.columns(range).copy(into: &part)
  }
}

/// The same back.
package func load(_ floats: Span<Float>, into x: Matrix, on workers: Workers) {
  let flat = x.flat
  precondition(floats.count == flat.columns, "as many floats")
  let source = Fence(floats)
  workers.forEachChunk(of: flat.columns, size: floatsPerTask) { range in
    flat.columns(range).copy(from: source.span(range))
  }
}

private func roundChunk(_ x: borrowing Row) {
  for i in 0..<x.count { x[i] = nearestBfloat16(x[i]) }
}

private func narrowChunk(_ x: borrowing Row, into halves: inout MutableSpan<UInt16>) {
  for i in 0..<x.count {
    assert(x[i].bitPattern & 0xFFFF == 0, "only what was rounded is narrowed")
    halves[i] = UInt16(truncatingIfNeeded: x[i].bitPattern &>> 16)
  }
}

extension Matrix {
  /// All elements as one row; there is nothing between the rows.
  fileprivate var flat: Matrix {
    precondition(stride == columns || rows <= 1, "rows lie one after another")
    return Matrix(
      buffer: buffer, offset: offset, rows: 1, columns: rows * columns, stride: rows * columns)
  }
}

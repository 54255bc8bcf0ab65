private let rowsPerTask = 32

/// Each row of x becomes its softmax, in place.
package func softmaxRows(_ x: Matrix, on workers: Workers) {
  precondition(x.columns > 0 || x.rows == 0, "a softmax needs at least one column")
  workers.forEachChunk(of: x.rows, size: rowsPerTask) { rows in
    for i in rows { _ = softmax(x.row(i)) }
  }
}

/// A row becomes its softmax, in place: exp(x - maximum) / sum. Log sum exp x is maximum +
/// log(sum).
@discardableResult
package func softmax(_ x: borrowing Row) -> (maximum: Float, sum: Float) {
  let maximum = largest(x)
  let total = exponentiate(x, minus: maximum)
  scaleRow(1 / total, x)
  return (maximum, total)
}

/// x = exp(x - offset) in place; the sum of the results.
package func exponentiate(_ x: borrowing Row, minus offset: Float) -> Float {
  if let wide = WideLoops.chosen {
    wide.exponentiate(x, minus: offset)
  } else {
    loopExponentiate(x, minus: offset)
  }
  return sum(x)
}

/// The largest element of a row, -infinity of an empty one. NaN if there is a positive NaN.
///
/// Compared as integers in the order of floats: an integer maximum vectorises, a float one does
/// not, for the sake of NaN.
package func largest(_ x: borrowing Row) -> Float {
  var best = orderedBits(-.infinity)
  for j in 0..<x.count { best = max(best, orderedBits(x[j])) }
  return Float(bitPattern: UInt32(bitPattern: best ^ (best &>> 31 & 0x7fff_ffff)))
}

/// The bits of `x` as an integer that sorts as floats do: negative ones have all but the sign
/// flipped.
@inline(__always)
private func orderedBits(_ x: Float) -> Int32 {
  let bits = Int32(bitPattern: x.bitPattern)
  return bits ^ (bits &>> 31 & 0x7fff_ffff)
}

/// The index of the largest element of a row; the lowest among equals.
package func indexOfLargest(_ x: borrowing Row) -> Int {
  precondition(x.count > 0, "an empty row has no largest element")
  let maximum = largest(x)
  for j in 0..<x.count where x[j] == maximum { return j }
  return 0
}

/// dx = y (dy - <y, dy>) for y = softmax(x), in place on `dy`.
package func softmaxBackward(output y: borrowing Row, _ dy: borrowing Row) {
  softmaxBackward(output: y, inner: dot(y, dy), dy)
}

/// The same where <y, dy> is known.
@inlinable
package func softmaxBackward(output y: borrowing Row, inner: Float, _ dy: borrowing Row) {
  precondition(y.count == dy.count, "rows of one length")
  for j in 0..<dy.count { dy[j] = y[j] * (dy[j] - inner) }
}

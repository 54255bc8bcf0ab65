private let rowsPerTask = 32

/// Each row of x becomes its softmax, in place.
package func softmaxRows(_ x: Matrix, on workers: Workers) {
  precondition(x.columns > 0 || x.rows == 0, "a softmax needs at least one column")
  workers.forEachChunk(of: x.rows, size: rowsPerTask) { rows in
    for i in rows { _ = softmax(x.row(i)) }
  }
}

/// A row becomes its softmax, in place: exp(x - maximum) / sum. Log sum exp x is maximum + log(sum).
@discardableResult
package func softmax(_ x: borrowing Row) -> (maximum: Float, sum: Float) {
  let maximum = largest(x)
  let total = exponentiate(x, minus: maximum)
  scaleRow(1 / total, x)
  return (maximum, total)
}

/// x = exp(x - offset) in place; the sum of the results.
package func exponentiate(_ x: borrowing Row, minus offset: Float) -> Float {
  var total = SIMD8<Float>()
  var j = 0
  while j &+ 8 <= x.count {
    let value = exponential(x.load8(j) - offset)
    x.store8(value, j)
    total += value
    j &+= 8
  }
  if j < x.count {
    let value = exponential(x.loadTail(j, filler: -.infinity) - offset)
    x.storeTail(value, j)
    total += value
  }
  return sumLanes(total)
}

/// The largest element of a row; NaN is passed over.
package func largest(_ x: borrowing Row) -> Float {
  var best = SIMD8<Float>(repeating: -.infinity)
  var j = 0
  while j &+ 8 <= x.count {
    let value = x.load8(j)
    best.replace(with: value, where: value .> best)
    j &+= 8
  }
  if j < x.count {
    let value = x.loadTail(j, filler: -.infinity)
    best.replace(with: value, where: value .> best)
  }
  return best.max()
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
  let inner = dot(y, dy)
  for j in 0..<dy.count { dy[j] = y[j] * (dy[j] - inner) }
}

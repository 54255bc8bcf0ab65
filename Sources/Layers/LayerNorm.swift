package import Kernels

/// y = (x - mean) / sqrt(variance + epsilon) * gain + bias over each row (Ba, Kiros and Hinton,
/// "Layer normalization", 2016). Legend: N rows, D columns.
package struct LayerNorm: Sendable {
  package let epsilon: Float

  package init(epsilon: Float = 1e-5) { self.epsilon = epsilon }

  private static let rowsPerTask = 32
  /// Of the backward pass: each leaves one row of sums.
  private static let rowsPerSum = 64

  /// x_ND -> y_ND, which may be the same matrix; gain and bias are [1, D].
  package func forward(
    _ x: Matrix, gain: Matrix, bias: Matrix, into y: Matrix, on workers: Workers
  ) {
    checkShapes(x, gain, bias)
    precondition(y.rows == x.rows, "as many rows out as in")
    precondition(y.columns == x.columns, "as many columns out as in")
    workers.forEachChunk(of: x.rows, size: Self.rowsPerTask) { rows in
      let (gain, bias) = (gain.row(0), bias.row(0))
      for i in rows { normalise(x.row(i), gain, bias, into: y.row(i)) }
    }
  }

  /// dy_ND -> dx_ND (overwritten, or added to), dgain += and dbias += [1, D]. The statistics of x
  /// are computed again. `dx` must not overlap `dy`. Takes D / 8 bytes a row of scratch memory: sums of
  /// 64 rows in order, which are added in order.
  package func backward(
    _ x: Matrix, gain: Matrix, dy: Matrix, dx: Matrix, accumulate: Bool, dgain: Matrix,
    dbias: Matrix, on workers: Workers
  ) {
    checkShapes(x, gain, dgain, dbias)
    precondition(dy.rows == x.rows && dx.rows == x.rows, "as many rows of gradients")
    precondition(dy.columns == x.columns && dx.columns == x.columns, "as many columns")
    let sums = FloatBuffer(
      count: Self.scratchFloatCount(rows: x.rows, columns: x.columns)
    ).matrix(rows: (x.rows + Self.rowsPerSum - 1) / Self.rowsPerSum, columns: 2 * x.columns)
    workers.forEachChunk(of: x.rows, size: Self.rowsPerSum) { rows in
      let (gain, sums) = (gain.row(0), sums.row(rows.lowerBound / Self.rowsPerSum))
      for i in rows {
        let (mean, inverse) = statistics(x.row(i))
        inputGradient(x.row(i), mean, inverse, gain, dy.row(i), dx.row(i), accumulate)
        addParameterGradients(x.row(i), mean, inverse, dy.row(i), to: sums)
      }
    }
    let (gains, biases) = (
      sums.columns(0..<x.columns), sums.columns(x.columns..<2 * x.columns)
    )
    sumColumns(gains, into: dgain, accumulate: true, on: workers)
    sumColumns(biases, into: dbias, accumulate: true, on: workers)
  }

  /// Floats of scratch memory that `backward` takes.
  package static func scratchFloatCount(rows: Int, columns: Int) -> Int {
    (rows + rowsPerSum - 1) / rowsPerSum * 2 * columns
  }

  private func checkShapes(_ x: Matrix, _ vectors: Matrix...) {
    precondition(x.columns > 0, "a row has columns")
    for vector in vectors {
      precondition(vector.rows == 1, "gain and bias are one row")
      precondition(vector.columns == x.columns, "one gain and bias per column")
    }
  }

  private func normalise(
    _ x: borrowing Row, _ gain: borrowing Row, _ bias: borrowing Row, into y: borrowing Row
  ) {
    precondition(x.count == y.count && gain.count == y.count && bias.count == y.count)
    let (mean, inverse) = statistics(x)
    for j in 0..<y.count { y[j] = bias[j].addingProduct((x[j] - mean) * inverse, gain[j]) }
  }

  private func statistics(_ x: borrowing Row) -> (mean: Float, inverse: Float) {
    let mean = sum(x) / Float(x.count)
    let variance = sumOfSquares(x, around: mean) / Float(x.count)
    return (mean, 1 / (variance + epsilon).squareRoot())
  }

  /// With u = (x - mean) * inverse and g = gain * dy: dx = inverse (g - mean(g) - u mean(g u)).
  private func inputGradient(
    _ x: borrowing Row, _ mean: Float, _ inverse: Float, _ gain: borrowing Row,
    _ dy: borrowing Row, _ dx: borrowing Row, _ accumulate: Bool
  ) {
    precondition(gain.count == dx.count && x.count == dx.count && dy.count == dx.count)
    let (total, along) = gainedSums(x, mean, inverse, gain, dy)
    let (a, b) = (total / Float(x.count), along / Float(x.count))
    for j in 0..<dx.count {
      let u = (x[j] - mean) * inverse
      let value = inverse * (gain[j] * dy[j] - a).addingProduct(-u, b)
      dx[j] = accumulate ? dx[j] + value : value
    }
  }

  /// Sum of g, and of g u.
  private func gainedSums(
    _ x: borrowing Row, _ mean: Float, _ inverse: Float, _ gain: borrowing Row,
    _ dy: borrowing Row
  ) -> (Float, Float) {
    var (total, along) = (SIMD8<Float>(), SIMD8<Float>())
    var j = 0
    while j &+ 8 <= x.count {
      let g = gain.load8(j) * dy.load8(j)
      total += g
      along.addProduct(g, (x.load8(j) - mean) * inverse)
      j &+= 8
    }
    if j < x.count {
      let g = gain.loadTail(j, filler: 0) * dy.loadTail(j, filler: 0)
      total += g
      along.addProduct(g, (x.loadTail(j, filler: 0) - mean) * inverse)
    }
    return (sumLanes(total), sumLanes(along))
  }

  /// Adds those of one row: of the gain first, of the bias behind them.
  private func addParameterGradients(
    _ x: borrowing Row, _ mean: Float, _ inverse: Float, _ dy: borrowing Row,
    to sums: borrowing Row
  ) {
    let (gain, bias) = (sums.part(0..<x.count), sums.part(x.count..<2 * x.count))
    precondition(gain.count == x.count && bias.count == x.count && dy.count == x.count)
    for j in 0..<x.count {
      gain[j] = gain[j].addingProduct(dy[j], (x[j] - mean) * inverse)
      bias[j] += dy[j]
    }
  }
}

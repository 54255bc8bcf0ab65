/// Loops over whole matrices, a constant number of rows per task. Memory-bound all of them.
private let rowsPerTask = 32

/// y += x.
package func add(_ x: Matrix, to y: Matrix, on workers: Workers) {
  addScaled(x, by: 1, to: y, on: workers)
}

/// y += scale * x, fused.
package func addScaled(_ x: Matrix, by scale: Float, to y: Matrix, on workers: Workers) {
  precondition(x.rows == y.rows, "as many rows")
  precondition(x.columns == y.columns, "as many columns")
  workers.forEachChunk(of: y.rows, size: rowsPerTask) { rows in
    for i in rows { axpy(scale, x.row(i), y.row(i)) }
  }
}

/// Every row of y += `row`, [1, columns].
package func addRow(_ row: Matrix, to y: Matrix, on workers: Workers) {
  precondition(row.rows == 1, "one row to add")
  precondition(row.columns == y.columns, "as many columns")
  workers.forEachChunk(of: y.rows, size: rowsPerTask) { rows in
    for i in rows { axpy(1, row.row(0), y.row(i)) }
  }
}

/// x *= factor.
package func scale(_ x: Matrix, by factor: Float, on workers: Workers) {
  workers.forEachChunk(of: x.rows, size: rowsPerTask) { rows in
    for i in rows { scaleRow(factor, x.row(i)) }
  }
}

/// Row i of x *= factors[i].
package func scaleRows(_ x: Matrix, by factors: [Float], on workers: Workers) {
  precondition(factors.count == x.rows, "one factor per row")
  workers.forEachChunk(of: x.rows, size: rowsPerTask) { rows in
    for i in rows { scaleRow(factors[i], x.row(i)) }
  }
}

/// Row x becomes max(x, 0), and dy, the gradient of that, the gradient of x. A NaN stays, without a
/// gradient.
@inlinable
package func reluBoth(_ x: borrowing Row, _ dy: borrowing Row) {
  precondition(x.count == dy.count, "rows of one length")
  for j in 0..<dy.count {
    let value = x[j] < 0 ? 0 : x[j]
    dy[j] = value > 0 ? dy[j] : 0
    x[j] = value
  }
}

@inlinable
package func copyRow(_ x: borrowing Row, into y: borrowing Row) {
  precondition(x.count == y.count, "rows of one length")
  for j in 0..<y.count { y[j] = x[j] }
}

/// y += scale * x over one row, fused.
@inlinable
package func axpy(_ scale: Float, _ x: borrowing Row, _ y: borrowing Row) {
  precondition(x.count == y.count, "rows of one length")
  for j in 0..<y.count { y[j] = y[j].addingProduct(scale, x[j]) }
}

/// x *= factor over one row.
@inlinable
package func scaleRow(_ factor: Float, _ x: borrowing Row) {
  for j in 0..<x.count { x[j] *= factor }
}

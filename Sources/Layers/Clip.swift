package import Kernels

private let rowsPerTask = 32

/// x = max(-limit, min(limit, x)), in place.
package func clip(_ x: Matrix, to limit: Float, on workers: Workers) {
  precondition(limit >= 0, "a limit on either side of zero")
  workers.forEachChunk(of: x.rows, size: rowsPerTask) { rows in
    for i in rows {
      let row = x.row(i)
      for j in 0..<row.count { row[j] = max(-limit, min(limit, row[j])) }
    }
  }
}

/// The gradient dx of the clipped x becomes that of x itself, in place: 0 where x was beyond.
package func clipBackward(_ x: Matrix, to limit: Float, _ dx: Matrix, on workers: Workers) {
  precondition(dx.rows == x.rows && dx.columns == x.columns, "a gradient for each value")
  workers.forEachChunk(of: x.rows, size: rowsPerTask) { rows in
    for i in rows {
      let (row, gradient) = (x.row(i), dx.row(i))
      for j in 0..<row.count where abs(row[j]) > limit { gradient[j] = 0 }
    }
  }
}

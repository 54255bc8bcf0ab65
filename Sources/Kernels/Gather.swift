private let rowsPerTask = 32

/// Row i of `target` = row indices[i] of `source`.
package func gatherRows(
  _ source: Matrix, _ indices: [Int32], into target: Matrix, on workers: Workers
) {
  precondition(indices.count == target.rows, "one index per target row")
  precondition(source.columns == target.columns, "as many columns")
  workers.forEachChunk(of: target.rows, size: rowsPerTask) { rows in
    for i in rows {
      let (from, to) = (source.row(Int(indices[i])), target.row(i))
      for j in 0..<to.count { to[j] = from[j] }
    }
  }
}

/// Row indices[i] of `target` += scale * row i of `source`.
///
/// An index may occur many times. Each task owns a strip of columns and adds the rows in order, so
/// the sums do not depend on the number of workers.
package func scatterAddRows(
  _ source: Matrix, _ indices: [Int32], scale: Float = 1, to target: Matrix, on workers: Workers
) {
  precondition(indices.count == source.rows, "one index per source row")
  precondition(source.columns == target.columns, "as many columns")
  workers.forEachStrip(of: source.columns) { columns in
    let (from, to) = (source.columns(columns), target.columns(columns))
    for i in 0..<from.rows { axpy(scale, from.row(i), to.row(Int(indices[i]))) }
  }
}

/// target[j, i] = source[i, j]. Sixteen rows of the source at a time: a cache line of the target.
package func transpose(_ source: Matrix, into target: Matrix) {
  precondition(target.rows == source.columns, "a row for each column")
  precondition(target.columns == source.rows, "a column for each row")
  for first in stride(from: 0, to: source.rows, by: 16) {
    let rows = first..<min(first + 16, source.rows)
    for j in 0..<target.rows {
      let row = target.row(j)
      for i in rows { row[i] = source[i, j] }
    }
  }
}

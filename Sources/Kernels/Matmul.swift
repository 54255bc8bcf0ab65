/// c = scale * a b, or c += scale * a b; `a` and `b` may each be read transposed.
///
/// Shapes: op(a) [m, k], op(b) [k, n], c [m, n]. Product by the library's sgemm, one call per tile of
/// outputs (`Tiling`). Tiles follow from the shape alone and k is never split, so every output
/// element is computed in the same order whatever the number of workers. Small products run on the
/// caller.
package func matmul(
  _ a: Matrix, _ b: Matrix, transposeA: Bool = false, transposeB: Bool = false,
  into c: Matrix, scale: Float = 1, accumulate: Bool = false, on workers: Workers,
  by library: ProductLibrary = .best
) {
  let (m, n, k) = (c.rows, c.columns, transposeA ? a.rows : a.columns)
  precondition((transposeA ? a.columns : a.rows) == m, "a has the rows of c")
  precondition((transposeB ? b.rows : b.columns) == n, "b has the columns of c")
  precondition((transposeB ? b.columns : b.rows) == k, "a and b share the summed dimension")
  guard m > 0, n > 0 else { return }
  guard k > 0 else {
    if !accumulate { c.fill(0) }
    return
  }
  guard m * n * k >= 1 << 18 else {
    return library.multiply(a, transposeA, b, transposeB, into: c, scale, accumulate)
  }
  let tiling = Tiling(rows: m, columns: n, depth: k, isTransposed: transposeA && !transposeB)
  workers.forEach(tiling.count) { tile in
    let (rows, columns) = tiling[tile]
    library.multiply(
      transposeA ? a.columns(rows) : a.rows(rows), transposeA,
      transposeB ? b.rows(columns) : b.columns(columns), transposeB,
      into: c.rows(rows).columns(columns), scale, accumulate)
  }
}

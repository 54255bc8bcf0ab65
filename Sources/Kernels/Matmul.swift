import COpenBLAS

/// c = scale * a b, or c += scale * a b; `a` and `b` may each be read transposed.
///
/// Shapes: op(a) [m, k], op(b) [k, n], c [m, n]. Product by OpenBLAS's sgemm, one call per tile of
/// outputs (`Tiling`). Tiles follow from the shape alone and k is never split, so every output
/// element is computed in the same order whatever the number of workers. Small products run on the
/// caller.
package func matmul(
  _ a: Matrix, _ b: Matrix, transposeA: Bool = false, transposeB: Bool = false,
  into c: Matrix, scale: Float = 1, accumulate: Bool = false, on workers: Workers
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
    return multiplyTile(a, transposeA, b, transposeB, c, scale, accumulate)
  }
  let tiling = Tiling(rows: m, columns: n, depth: k, isTransposed: transposeA && !transposeB)
  workers.forEach(tiling.count) { tile in
    let (rows, columns) = tiling[tile]
    multiplyTile(
      transposeA ? a.columns(rows) : a.rows(rows), transposeA,
      transposeB ? b.rows(columns) : b.columns(columns), transposeB,
      c.rows(rows).columns(columns), scale, accumulate)
  }
}

/// What OpenBLAS says of itself: version, options and the core its kernels were chosen for.
package func blasDescription() -> String {
  // Between them it names a core of its own finding, which need not be the one whose kernels it uses.
  let options = unsafe String(cString: pagoda_blas_config()).split(separator: " ").prefix(2)
  return unsafe options.joined(separator: " ") + ", kernels for "
    + String(cString: pagoda_blas_core())
}

private func multiplyTile(
  _ a: Matrix, _ transposeA: Bool, _ b: Matrix, _ transposeB: Bool, _ c: Matrix, _ scale: Float,
  _ accumulate: Bool
) {
  unsafe pagoda_sgemm(
    transposeA, transposeB, Int32(c.rows), Int32(c.columns),
    Int32(transposeA ? a.rows : a.columns), scale, a.pointer, Int32(a.stride), b.pointer,
    Int32(b.stride), accumulate ? 1 : 0, c.pointer, Int32(c.stride))
}

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
  unsafe String(cString: openblas_get_config()) + ", kernels for "
    + String(cString: openblas_get_corename())
}

/// OpenBLAS brings threads of its own; they would be wrong twice: too many, and with sums that
/// depend on their number. Read before each call, set once.
private let blasThreadCount: Int = {
  openblas_set_num_threads(1)
  return 1
}()

private func multiplyTile(
  _ a: Matrix, _ transposeA: Bool, _ b: Matrix, _ transposeB: Bool, _ c: Matrix, _ scale: Float,
  _ accumulate: Bool
) {
  _ = blasThreadCount
  unsafe cblas_sgemm(
    CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
    blasint(c.rows), blasint(c.columns), blasint(transposeA ? a.rows : a.columns), scale,
    a.pointer, blasint(a.stride), b.pointer, blasint(b.stride), accumulate ? 1 : 0, c.pointer,
    blasint(c.stride))
}

import COpenBLAS

/// c = a b by one call of OpenBLAS's sgemm, whatever the size: what `matmul` is measured against.
/// Nothing that is trained uses it: with threads of OpenBLAS's own the order of sums depends on
/// their number.
package func wholeProduct(_ a: Matrix, _ b: Matrix, into c: Matrix) {
  precondition(a.rows == c.rows, "a has the rows of c")
  precondition(b.columns == c.columns, "b has the columns of c")
  precondition(a.columns == b.rows, "a and b share the summed dimension")
  ProductLibrary.openBLAS.multiply(a, false, b, false, into: c, 1, false)
}

/// Runs `body` while OpenBLAS cuts each product over `count` threads of its own; then it has one
/// again, as everything else expects. Not while other products are computed.
package func withBlasThreads<Result>(
  _ count: Int, _ body: () throws -> Result
) rethrows -> Result {
  precondition(count > 0, "at least one thread")
  pagoda_blas_set_threads(Int32(count))
  defer { pagoda_blas_set_threads(1) }
  return try body()
}

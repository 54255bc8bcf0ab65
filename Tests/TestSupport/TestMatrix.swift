import Base
package import Kernels

/// A matrix of numbers in -1 ..< 1 that depend on (seed, element) alone, inside a larger buffer if
/// `padding` columns are asked for, so that strides differ from columns.
package func testMatrix(_ rows: Int, _ columns: Int, seed: UInt64, padding: Int = 0) -> Matrix {
  let whole = Matrix(rows: rows, columns: columns + padding)
  let stream = Philox(seed: seed, purpose: .test)
  for i in 0..<rows {
    for j in 0..<columns + padding {
      whole[i, j] = 2 * stream.uniform(UInt32(i), UInt32(j), 0) - 1
    }
  }
  return whole.columns(0..<columns)
}

/// The bit patterns of all elements: equal means equal bits, signed zeros and NaNs included.
package func bits(_ x: Matrix) -> [UInt32] { x.values.map(\.bitPattern) }

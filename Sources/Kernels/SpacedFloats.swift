/// Floats in row order of which the first are the rows of a matrix, which may lie apart, and the rest lie
/// behind each other: the weights of an expert as they are multiplied, matrices before biases.
package struct SpacedFloats: Sendable {
  package let matrix: Matrix
  /// [1, floats behind the matrix].
  package let rest: Matrix

  package var count: Int { matrixCount + rest.columns }
  private var matrixCount: Int { matrix.rows * matrix.columns }

  package init(_ matrix: Matrix, rest: Matrix) {
    precondition(rest.rows == 1, "one row of what is behind the matrix")
    (self.matrix, self.rest) = (matrix, rest)
  }

  /// All of them behind each other.
  package init(_ row: Matrix) { self.init(row.rows(0..<0), rest: row) }

  /// Calls `body` with each run of neighbours in `range`, and with where they lie.
  func forEachRun(of range: Range<Int>, _ body: (Range<Int>, borrowing Row) -> Void) {
    precondition(range.upperBound <= count, "floats that there are")
    // Rows behind each other are one.
    let matrix =
      matrix.stride == matrix.columns
      ? Matrix(
        buffer: matrix.buffer, offset: matrix.offset, rows: min(1, matrixCount),
        columns: matrixCount, stride: matrixCount) : matrix
    var start = range.lowerBound
    while start < min(range.upperBound, matrixCount) {
      let column = start % matrix.columns
      let end = min(range.upperBound, start - column + matrix.columns)
      body(start..<end, matrix.row(start / matrix.columns).part(column..<column + end - start))
      start = end
    }
    guard start < range.upperBound else { return }
    body(
      start..<range.upperBound,
      rest.row(0).part(start - matrixCount..<range.upperBound - matrixCount))
  }
}

extension Matrix {
  /// A matrix of zeros to be a factor of products. Rows that begin at the same place of their pages of
  /// 4096 bytes share a few sets of the nearest cache, and drive each other out when a product packs a
  /// column of them: such rows lie a line further apart. Measured with AVX-512: an expert's products of
  /// width 1024 with 400 to 2000 tokens take a tenth less time.
  package init(spacedRows rows: Int, columns: Int) {
    let stride = Self.spacedStride(columns: columns)
    self.init(
      buffer: FloatBuffer(count: rows * stride), offset: 0, rows: rows, columns: columns,
      stride: stride)
  }

  /// Floats from row to row of `init(spacedRows:columns:)`.
  package static func spacedStride(columns: Int) -> Int {
    columns > 0 && columns % floatsPerPage == 0 ? columns + floatsPerLine : columns
  }

  private static let floatsPerPage = 1024
  private static let floatsPerLine = 16
}

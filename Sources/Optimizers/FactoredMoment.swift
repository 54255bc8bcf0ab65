import Kernels

/// A matrix, or a vector as a matrix of one row, among others.
package struct FactoredTensor: Sendable, Equatable {
  /// Parameters before it.
  package let offset: Int
  package let rows: Int
  package let columns: Int
  /// Whether weight decay applies.
  package let decays: Bool

  package init(offset: Int, rows: Int, columns: Int, decays: Bool) {
    (self.offset, self.rows, self.columns) = (offset, rows, columns)
    self.decays = decays
  }

  package var range: Range<Int> { offset..<offset + rows * columns }
  /// Floats of its second moments: means of rows, then means of columns.
  package var factorCount: Int { rows + columns }
}

/// The second moments of a matrix as `Adafactor` keeps them.
package struct FactoredMoment: Sendable, Equatable {
  /// Running means of the rows' squares, R.
  package private(set) var rows: [Float]
  /// Of the columns', C.
  package private(set) var columns: [Float]

  /// - Parameter floats: R, then C.
  package init(rows: Int, columns: Int, _ floats: Span<Float>) {
    precondition(floats.count == rows + columns, "a mean of each row and of each column")
    self.rows = (0..<rows).map { floats[$0] }
    self.columns = (rows..<floats.count).map { floats[$0] }
  }

  /// R, then C.
  package var floats: [Float] { rows + columns }

  mutating func advance(
    _ rowSquares: [Float], _ columnSquares: [Float], scale: Double, keep: Double, floor: Double
  ) {
    let (height, width) = (Double(rows.count), Double(columns.count))
    func advanced(_ mean: Float, _ sum: Float, of count: Double) -> Float {
      Float(keep * Double(mean) + (1 - keep) * (scale * Double(sum) / count + floor))
    }
    for i in rows.indices { rows[i] = advanced(rows[i], rowSquares[i], of: width) }
    for j in columns.indices { columns[j] = advanced(columns[j], columnSquares[j], of: height) }
  }

  /// mean(R).
  private var mean: Double { rows.reduce(0) { $0 + Double($1) } / Double(rows.count) }

  /// The sum of gradient_ij^2 / (R_i C_j / mean(R)).
  func normalisedSquares(_ gradient: Matrix, on workers: Workers) -> Double {
    let sums = rowSquares(gradient, weights: columns.map { 1 / $0 }, on: workers)
    return mean * zip(sums, rows).reduce(0) { $0 + Double($1.0) / Double($1.1) }
  }

  /// Whose products are the square roots of all second moments.
  var roots: (rows: [Float], columns: [Float]) {
    let mean = mean
    return (
      rows.map { Float((Double($0) / mean).squareRoot()) },
      columns.map { Float(Double($0).squareRoot()) }
    )
  }
}

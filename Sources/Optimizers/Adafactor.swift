import Glibc
package import Kernels

/// Adafactor without a first moment (Shazeer and Stern, "Adafactor: adaptive learning rates with sublinear
/// memory cost", ICML 2018): the second moments of a matrix X [r, c] are kept as the means of its rows and
/// of its columns. For a gradient g = scale * gradient at update t = 1, 2, ... with
/// beta = 1 - t^-decayExponent
///
///     R_i  = beta R_i + (1 - beta) (mean over j of g_ij^2 + squareFloor)
///     C_j  = beta C_j + (1 - beta) (mean over i of g_ij^2 + squareFloor)
///     u    = g / sqrt(R_i C_j / mean(R))
///     rate = learningRate * max(scaleFloor, RMS(X)) / max(1, RMS(u) / threshold)
///     X   -= learningRate * weightDecay * X + rate * u
///
/// A vector is a matrix of one row: C is its second moment then. Means that are all zero know nothing, as
/// those of a tensor whose history was dropped: beta is 0 for them whatever t is, as it is for t = 1.
package struct Adafactor: Sendable {
  /// Whether steps are as large as parameters are: RMS(X) is part of the rate. If not, it is
  /// `learningRate` alone.
  package var scalesByParameters: Bool
  package var weightDecay: Double
  package var decayExponent = 0.8
  package var threshold = 1.0
  package var squareFloor = 1e-30
  package var scaleFloor = 1e-3

  package init(scalesByParameters: Bool = true, weightDecay: Double = 0) {
    precondition(weightDecay >= 0, "weight decay is not negative")
    (self.scalesByParameters, self.weightDecay) = (scalesByParameters, weightDecay)
  }

  /// Advances `moment` by the gradient of a matrix.
  /// - Parameters:
  ///   - index: of the update, from 1.
  ///   - weightSquares: the sum of the squares of the matrix.
  ///   - gradientScale: multiplies every gradient, as clipping wants it.
  /// - Returns: what moves the matrix.
  package func advance(
    _ moment: inout FactoredMoment, _ gradient: Matrix, index: Int, learningRate: Double,
    weightSquares: Double, gradientScale: Float, on workers: Workers
  ) -> AdafactorStep {
    precondition(index >= 1, "updates count from 1")
    precondition(learningRate >= 0, "a learning rate is not negative")
    let beta = moment.isVirgin ? 0 : 1 - pow(Double(index), -decayExponent)
    let square = Double(gradientScale) * Double(gradientScale)
    moment.advance(
      rowSquares(gradient, on: workers), columnSquares(gradient, on: workers), scale: square,
      keep: beta, floor: squareFloor)
    let count = Double(gradient.rows * gradient.columns)
    let length = (square * moment.normalisedSquares(gradient, on: workers) / count).squareRoot()
    var rate = learningRate / max(1, length / threshold)
    if scalesByParameters { rate *= max(scaleFloor, (weightSquares / count).squareRoot()) }
    return AdafactorStep(
      moment, rate: rate, keep: 1 - learningRate * weightDecay, gradientScale: gradientScale)
  }
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

  var isVirgin: Bool { rows.allSatisfy { $0 == 0 } }

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

/// What one update by `Adafactor` does to each element of a matrix, or of a part of it.
package struct AdafactorStep: Sendable {
  private let rowRoots: [Float]
  private let columnRoots: [Float]
  /// Moves a weight as AdamW does, given the gradient as m and the root of v.
  let move: AdamWStep
  private let gradientScale: Float

  init(_ moment: FactoredMoment, rate: Double, keep: Double, gradientScale: Float) {
    (rowRoots, columnRoots) = moment.roots
    self.gradientScale = gradientScale
    move = AdamWStep(
      gradientScale: gradientScale, keep: Float(keep), momentumRate: 1, varianceKeep: 0,
      varianceRate: 1, rate: Float(rate), inverseRootCorrection: 1, epsilon: 0)
  }

  /// Of elements from `first` on, in row order: the gradients as they count, and the roots of their second
  /// moments.
  func prepare(
    from first: Int, _ gradient: Span<Float>, into scaled: inout MutableSpan<Float>,
    _ roots: inout MutableSpan<Float>
  ) {
    let columns = columnRoots.span
    var (done, row, column) = (0, first / columns.count, first % columns.count)
    while done < gradient.count {
      let run = min(columns.count - column, gradient.count - done)
      let rowRoot = rowRoots[row]
      for k in 0..<run {
        scaled[done &+ k] = gradient[done &+ k] * gradientScale
        roots[done &+ k] = rowRoot * columns[column &+ k]
      }
      (done, row, column) = (done + run, row + 1, 0)
    }
  }
}

// MARK: Weights that are floats

extension AdafactorStep {
  /// Moves elements from `first` of the matrix on, in row order.
  package func update(
    weights: inout MutableSpan<Float>, gradient: Span<Float>, from first: Int, on workers: Workers
  ) {
    precondition(weights.count == gradient.count, "one weight per gradient")
    update(Fence(&weights), Fence(gradient), count: gradient.count, from: first, on: workers)
  }

  /// Moves all of the matrix, as one row. Of the gradient zeros are left: the next step adds to them.
  package func update(weights: Matrix, gradient: Matrix, on workers: Workers) {
    precondition(weights.rows == 1 && gradient.rows == 1, "one row each")
    precondition(weights.columns == gradient.columns, "one weight per gradient")
    update(
      Fence(weights.row(0)), Fence(gradient.row(0)), count: gradient.columns, from: 0, on: workers)
    gradient.fill(0)
  }

  private func update(
    _ weights: Fence<Float>, _ gradient: Fence<Float>, count: Int, from first: Int,
    on workers: Workers
  ) {
    let size = AdafactorBlockStep.groupSize
    workers.forEachUpdated(of: count) { chunk in
      let zeros = InlineArray<256, Float>(repeating: 0)
      var (scaled, roots) = (zeros, zeros)
      for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: size) {
        let group = start..<min(start + size, chunk.upperBound)
        var m = scaled.mutableSpan
        var root = roots.mutableSpan
        prepare(from: first + start, gradient.span(group), into: &m, &root)
        var weights = weights.mutable(group)
        let used = 0..<group.count
        move.move(weights: &weights, m.span.extracting(used), root.span.extracting(used))
      }
    }
  }
}

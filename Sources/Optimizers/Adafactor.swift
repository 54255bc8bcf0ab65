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
///     rate = learningRate * max(scaleFloor, RMS(X))
///     X   -= rate * weightDecay * X + rate * u / max(1, RMS(u) / threshold)
///
/// A vector is a matrix of one row: C is its second moment then.
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
  ///   - weightSquares: the sum of the squares of the matrix; of no effect where it is no part of the rate.
  ///   - gradientScale: multiplies every gradient, as clipping wants it.
  /// - Returns: what moves the matrix.
  package func advance(
    _ moment: inout FactoredMoment, _ gradient: Matrix, index: Int, learningRate: Double,
    weightSquares: @autoclosure () -> Double, gradientScale: Float, on workers: Workers
  ) -> AdafactorStep {
    precondition(index >= 1, "updates count from 1")
    precondition(learningRate >= 0, "a learning rate is not negative")
    let square = Double(gradientScale) * Double(gradientScale)
    moment.advance(
      rowSquares(gradient, on: workers), columnSquares(gradient, on: workers), scale: square,
      keep: 1 - pow(Double(index), -decayExponent), floor: squareFloor)
    let count = Double(gradient.rows * gradient.columns)
    let length = (square * moment.normalisedSquares(gradient, on: workers) / count).squareRoot()
    var rate = learningRate
    if scalesByParameters { rate *= max(scaleFloor, (weightSquares() / count).squareRoot()) }
    return AdafactorStep(
      moment, rate: rate / max(1, length / threshold), keep: 1 - rate * weightDecay,
      gradientScale: gradientScale)
  }

  /// Advances the factors of several tensors, which lie one after another in `factors`.
  /// - Parameters:
  ///   - gradient: of tensors whose offsets count from `first` on.
  ///   - weightSquares: the sum of the squares of one of them.
  package func advance(
    _ tensors: [FactoredTensor], _ factors: inout MutableSpan<Float>, _ gradient: FloatBuffer,
    from first: Int, index: Int, learningRate: Double, gradientScale: Float, on workers: Workers,
    weightSquares: (FactoredTensor) -> Double
  ) -> FactoredStep {
    precondition(
      factors.count == tensors.reduce(0) { $0 + $1.factorCount }, "factors of these tensors")
    let fence = Fence(&factors)
    var start = 0
    return FactoredStep(
      parts: tensors.map { tensor in
        var floats = fence.mutable(start..<start + tensor.factorCount)
        start += tensor.factorCount
        var moment = FactoredMoment(rows: tensor.rows, columns: tensor.columns, floats.span)
        var own = self
        if !tensor.decays { own.weightDecay = 0 }
        let step = own.advance(
          &moment,
          gradient.matrix(
            rows: tensor.rows, columns: tensor.columns, offset: first + tensor.offset),
          index: index, learningRate: learningRate, weightSquares: weightSquares(tensor),
          gradientScale: gradientScale, on: workers)
        for (i, value) in moment.floats.enumerated() { floats[i] = value }
        return FactoredStep.Part(range: tensor.range, step: step)
      })
  }
}

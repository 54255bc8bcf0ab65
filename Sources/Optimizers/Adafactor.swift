import Base
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

/// What one update by `Adafactor` does to each element of a matrix.
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

/// What one update by `Adafactor` does to tensors that lie behind each other.
package struct FactoredStep: Sendable {
  /// Parameters that share a set of numbers for rounding.
  static let groupSize = StatePrecision.valuesPerScale

  struct Part: Sendable {
    let range: Range<Int>
    let step: AdafactorStep
  }

  let parts: [Part]

  /// Weights as they are kept, and where the numbers are that a group of them is rounded by.
  enum Weights: Sendable {
    case floats(Fence<Float>)
    case halves(Fence<UInt16>, Fence<UInt16>)
    case upperHalves(Fence<UInt16>, noise: Fence<UInt16>)
  }

  /// Moves the parameters of `group`.
  /// - Parameter offset: the number of the first parameter that `weights` and `gradient` have.
  func move(
    _ group: Range<Int>, of weights: Weights, _ gradient: Fence<Float>, offset: Int = 0
  ) {
    let zeros = InlineArray<256, Float>(repeating: 0)
    var (scaled, roots) = (zeros, zeros)
    for part in parts where part.range.overlaps(group) {
      let range = part.range.clamped(to: group)
      let place = range.lowerBound - offset..<range.upperBound - offset
      var m = scaled.mutableSpan
      var root = roots.mutableSpan
      part.step.prepare(
        from: range.lowerBound - part.range.lowerBound, gradient.span(place), into: &m, &root)
      let used = 0..<range.count
      let step = part.step.move
      switch weights {
      case .floats(let floats):
        var floats = floats.mutable(place)
        step.move(weights: &floats, m.span.extracting(used), root.span.extracting(used))
      case .halves(let hi, let lo):
        var hi = hi.mutable(place)
        var lo = lo.mutable(place)
        step.move(hi: &hi, lo: &lo, m.span.extracting(used), root.span.extracting(used))
      case .upperHalves(let hi, let noise):
        var hi = hi.mutable(place)
        let numbers = range.lowerBound - group.lowerBound..<range.upperBound - group.lowerBound
        step.move(
          hi: &hi, m.span.extracting(used), root.span.extracting(used), noise.span(numbers))
      }
    }
  }
}

// MARK: Weights that are floats

extension FactoredStep {
  /// Moves parameters from `first` on.
  package func update(
    weights: inout MutableSpan<Float>, gradient: Span<Float>, from first: Int, on workers: Workers
  ) {
    precondition(weights.count == gradient.count, "one weight per gradient")
    let (weights, gradient, count) = (Fence(&weights), Fence(gradient), gradient.count)
    workers.forEachUpdated(of: count) { chunk in
      update(first + chunk.lowerBound..<first + chunk.upperBound, weights, gradient, offset: first)
    }
  }

  /// Moves all of the tensors, as one row. Of the gradient zeros are left, written while it is in the
  /// caches: the next step adds to them.
  package func update(weights: Matrix, gradient: Matrix, on workers: Workers) {
    precondition(weights.rows == 1 && gradient.rows == 1, "one row each")
    precondition(weights.columns == gradient.columns, "one weight per gradient")
    workers.forEachUpdated(of: gradient.columns) { chunk in
      let own = gradient.columns(chunk)
      update(
        chunk, Fence(weights.columns(chunk).row(0)), Fence(own.row(0)), offset: chunk.lowerBound)
      own.fill(0)
    }
  }

  /// - Parameter offset: the number of the first element in `weights` and `gradient`.
  private func update(
    _ chunk: Range<Int>, _ weights: Fence<Float>, _ gradient: Fence<Float>, offset: Int
  ) {
    for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: Self.groupSize) {
      let group = start..<min(start + Self.groupSize, chunk.upperBound)
      move(group, of: .floats(weights), gradient, offset: offset)
    }
  }
}

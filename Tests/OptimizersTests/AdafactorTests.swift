import Base
import Kernels
import Optimizers
import Testing

/// The paper's formulas in Double, one element after another.
private struct PlainAdafactor {
  let rows: Int
  let columns: Int
  var weights: [Double]
  var rowMeans: [Double]
  var columnMeans: [Double]

  init(_ rows: Int, _ columns: Int, _ weights: [Float]) {
    (self.rows, self.columns) = (rows, columns)
    self.weights = weights.map { Double($0) }
    rowMeans = Array(repeating: 0, count: rows)
    columnMeans = Array(repeating: 0, count: columns)
  }

  mutating func update(
    _ gradient: [Float], index: Int, rate: Double, optimizer: Adafactor, scale: Double
  ) {
    let g = gradient.map { Double($0) * scale }
    let beta = 1 - 1 / exponentiated(Double(index), 0.8)
    for i in 0..<rows {
      let mean = (0..<columns).reduce(0) { $0 + g[i * columns + $1] * g[i * columns + $1] + 1e-30 }
      rowMeans[i] = beta * rowMeans[i] + (1 - beta) * mean / Double(columns)
    }
    for j in 0..<columns {
      let mean = (0..<rows).reduce(0) { $0 + g[$1 * columns + j] * g[$1 * columns + j] + 1e-30 }
      columnMeans[j] = beta * columnMeans[j] + (1 - beta) * mean / Double(rows)
    }
    let mean = rowMeans.reduce(0, +) / Double(rows)
    let u = g.indices.map {
      g[$0] / (rowMeans[$0 / columns] * columnMeans[$0 % columns] / mean).squareRoot()
    }
    func rootMeanSquare(_ x: [Double]) -> Double {
      (x.reduce(0) { $0 + $1 * $1 } / Double(x.count)).squareRoot()
    }
    let relative = optimizer.scalesByParameters ? max(1e-3, rootMeanSquare(weights)) : 1
    let step = rate * relative / max(1, rootMeanSquare(u))
    for k in g.indices {
      weights[k] -= rate * optimizer.weightDecay * weights[k] + step * u[k]
    }
  }

  /// base^exponent by logarithms that this test makes itself would prove nothing more: repeated roots.
  private func exponentiated(_ base: Double, _ exponent: Double) -> Double {
    var (result, root, left) = (1.0, base, exponent)
    for _ in 0..<48 {
      root = root.squareRoot()
      left *= 2
      if left >= 1 {
        result *= root
        left -= 1
      }
    }
    return result
  }
}

private func randoms(_ count: Int, _ number: UInt32) -> [Float] {
  let stream = Philox(seed: 3, purpose: .test)
  return (0..<count).map { 2 * stream.uniform(UInt32($0), number, 0) - 1 }
}

private func matrix(_ rows: Int, _ columns: Int, _ values: [Float]) -> Matrix {
  let matrix = Matrix(rows: rows, columns: columns)
  matrix.assign(values)
  return matrix
}

private func values(_ matrix: Matrix) -> [Float] {
  (0..<matrix.rows).flatMap { i in (0..<matrix.columns).map { matrix[i, $0] } }
}

private func noMoment(_ rows: Int, _ columns: Int) -> FactoredMoment {
  let zeros = [Float](repeating: 0, count: rows + columns)
  return FactoredMoment(rows: rows, columns: columns, zeros.span)
}

private func squares(_ weights: [Float]) -> Double { weights.reduce(0) { $0 + Double($1 * $1) } }

@Suite struct AdafactorTests {
  /// Goal: the paper's update, of matrices and of vectors, with every option.
  @Test(
    arguments: [(5, 40), (64, 3), (1, 33), (300, 1), (1, 1)],
    [
      Adafactor(), Adafactor(scalesByParameters: false),
      Adafactor(scalesByParameters: true, weightDecay: 0.1),
    ])
  func stepsAreThePapers(_ shape: (Int, Int), _ optimizer: Adafactor) {
    let (rows, columns) = shape
    let count = rows * columns
    let weights = matrix(1, count, randoms(count, 0))
    var plain = PlainAdafactor(rows, columns, values(weights))
    var moment = noMoment(rows, columns)
    for index in 1...5 {
      let gradient = randoms(count, UInt32(index)).map { $0 * Float(index) }
      let step = optimizer.advance(
        &moment, matrix(rows, columns, gradient), index: index, learningRate: 0.02,
        weightSquares: squares(values(weights)), gradientScale: 0.5, on: .inline)
      step.update(weights: weights, gradient: matrix(1, count, gradient), on: .inline)
      plain.update(gradient, index: index, rate: 0.02, optimizer: optimizer, scale: 0.5)
      for (found, wanted) in zip(values(weights), plain.weights) {
        #expect(abs(Double(found) - wanted) < 1e-5 * max(1e-2, abs(wanted)))
      }
    }
    for (found, wanted) in zip(moment.rows + moment.columns, plain.rowMeans + plain.columnMeans) {
      #expect(abs(Double(found) / wanted - 1) < 1e-5)
    }
  }

  /// Goal: squares of rank one are kept as they are, so that the first step is the sign of the gradient.
  @Test func squaresOfRankOneLoseNothing() {
    let (rows, columns) = (7, 12)
    let (a, b) = (randoms(rows, 1), randoms(columns, 2))
    let gradient = (0..<rows * columns).map { a[$0 / columns] * b[$0 % columns] }
    var moment = noMoment(rows, columns)
    let step = Adafactor(scalesByParameters: false).advance(
      &moment, matrix(rows, columns, gradient), index: 1, learningRate: 0.25, weightSquares: 0,
      gradientScale: 1, on: .inline)
    let weights = Matrix(rows: 1, columns: gradient.count)
    step.update(weights: weights, gradient: matrix(1, gradient.count, gradient), on: .inline)
    for (weight, g) in zip(values(weights), gradient) {
      #expect(abs(weight + (g < 0 ? -0.25 : 0.25)) < 1e-6)
    }
  }

  /// Goal: a lone gradient among zeros does not take the step of a whole matrix: RMS(u) is clipped to 1.
  @Test func stepsAreClipped() {
    let (rows, columns) = (4, 4)
    var moment = noMoment(rows, columns)
    let optimizer = Adafactor(scalesByParameters: false)
    var weights = Matrix(rows: 1, columns: 16)
    for (index, size) in [Float(1e-3), 1e3].enumerated() {
      let gradient = [Float](repeating: size, count: 16)
      let step = optimizer.advance(
        &moment, matrix(rows, columns, gradient), index: index + 1, learningRate: 1,
        weightSquares: 0, gradientScale: 1, on: .inline)
      weights = Matrix(rows: 1, columns: 16)
      step.update(weights: weights, gradient: matrix(1, 16, gradient), on: .inline)
    }
    // Without clipping it would be 1 / sqrt(1 - beta2) = 2^0.4.
    for weight in values(weights) { #expect(abs(weight + 1) < 1e-5) }
  }

  /// Goal: no gradient moves nothing but by decay; what was dropped begins anew at any step.
  @Test func zerosAreNoHistory() {
    var moment = noMoment(3, 5)
    let zeros = [Float](repeating: 0, count: 15)
    var weights = matrix(1, 15, randoms(15, 9))
    let before = values(weights)
    let still = Adafactor(weightDecay: 0.5).advance(
      &moment, matrix(3, 5, zeros), index: 1, learningRate: 0.1, weightSquares: squares(before),
      gradientScale: 1, on: .inline)
    still.update(weights: weights, gradient: matrix(1, 15, zeros), on: .inline)
    #expect(values(weights) == before.map { $0 * Float(1 - 0.1 * 0.5) })

    let gradient = randoms(15, 10)
    let moved = [1, 1000].map { index in
      var moment = noMoment(3, 5)
      weights = matrix(1, 15, before)
      let step = Adafactor().advance(
        &moment, matrix(3, 5, gradient), index: index, learningRate: 0.1,
        weightSquares: squares(before), gradientScale: 1, on: .inline)
      step.update(weights: weights, gradient: matrix(1, 15, gradient), on: .inline)
      return values(weights)
    }
    #expect(moved[0] == moved[1])
    #expect(moved[0] != before)
  }

  /// Goal: a block's halves move as its tensors do, on any number of threads, wherever tensors begin; a
  /// master of bfloat16 is near.
  @Test(arguments: [1, 3]) func blocksMoveAsTheirTensors(_ threads: Int) {
    let tensors = [
      FactoredTensor(offset: 0, rows: 37, columns: 301, decays: true),
      FactoredTensor(offset: 11137, rows: 37, columns: 301, decays: true),
      FactoredTensor(offset: 22274, rows: 1, columns: 37, decays: false),
    ]
    let (count, workers) = (22311, Workers(count: threads))
    let weights = randoms(count, 5)
    let gradient = randoms(count, 6)
    let optimizer = Adafactor(scalesByParameters: true, weightDecay: 0.1)
    let whole = Block(weights, .fp32, optimizer, tensors, gradient, on: workers)
    let half = Block(weights, .bf16, optimizer, tensors, gradient, on: workers)
    #expect(whole.factors == half.factors)
    var first = 0
    for tensor in tensors {
      let (start, range) = (first, tensor.range)
      first += tensor.factorCount
      var moment = noMoment(tensor.rows, tensor.columns)
      var own = optimizer
      if !tensor.decays { own.weightDecay = 0 }
      let halves = weights[range].map { widen(splitMaster($0).hi) }
      let part = matrix(1, range.count, Array(weights[range]))
      let step = own.advance(
        &moment, matrix(tensor.rows, tensor.columns, Array(gradient[range])), index: 1,
        learningRate: 0.1, weightSquares: squares(halves), gradientScale: 1, on: .inline)
      step.update(
        weights: part, gradient: matrix(1, range.count, Array(gradient[range])), on: .inline)
      #expect(Array(whole.factors[start..<first]) == moment.floats)
      for (i, wanted) in zip(range, values(part)) {
        // The sum of squares is added up in another order.
        #expect(abs(whole.weights[i] - wanted) <= 1e-6)
        #expect(abs(half.weights[i] - wanted) <= 0.02 * max(0.1, abs(wanted)))
      }
    }
  }
}

/// A block after one update.
private struct Block {
  let weights: [Float]
  let factors: [Float]

  init(
    _ weights: [Float], _ master: MasterPrecision, _ optimizer: Adafactor,
    _ tensors: [FactoredTensor], _ gradient: [Float], on workers: Workers
  ) {
    var hi = weights.map { splitMaster($0).hi }
    var lo = master == .fp32 ? weights.map { splitMaster($0).lo } : []
    var v = [UInt8](repeating: 0, count: 4 * tensors.reduce(0) { $0 + $1.factorCount })
    let buffer = FloatBuffer(count: gradient.count)
    buffer.matrix(rows: 1, columns: gradient.count).assign(gradient)
    var hiSpan = hi.mutableSpan
    var loSpan = lo.mutableSpan
    var vSpan = v.mutableSpan
    let step = AdafactorBlockStep(
      optimizer, tensors, hi: &hiSpan, v: &vSpan, gradient: buffer, index: 1, learningRate: 0.1,
      gradientScale: 1, seed: 1, step: 1, block: .expert(layer: 0, 0, slice: 0), on: workers)
    step.update(hi: &hiSpan, lo: &loSpan, gradient: buffer.span, on: workers)
    self.weights =
      lo.isEmpty ? hi.map { widen($0) } : zip(hi, lo).map { joinMaster(hi: $0, lo: $1) }
    factors = unsafe v.withUnsafeBytes { unsafe Array($0.bindMemory(to: Float.self)) }
  }
}

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
      weights[k] -= rate * relative * optimizer.weightDecay * weights[k] + step * u[k]
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

private func squares(_ weights: some Sequence<Float>) -> Double {
  weights.reduce(0) { $0 + Double($1 * $1) }
}

/// Tensors that lie behind each other, and their factors.
private struct Tensors {
  let shapes: [FactoredTensor]
  var weights: [Float]
  var factors: [Float]

  init(_ shapes: [FactoredTensor], _ weights: [Float]) {
    self.shapes = shapes
    // A copy: a span of an array that others share would be written to for all of them.
    self.weights = weights.map { $0 }
    factors = Array(repeating: 0, count: shapes.reduce(0) { $0 + $1.factorCount })
  }

  init(_ rows: Int, _ columns: Int, _ weights: [Float]) {
    self.init([FactoredTensor(offset: 0, rows: rows, columns: columns, decays: true)], weights)
  }

  /// - Parameter sizes: what tells how large parameters are; the weights themselves if nil.
  mutating func update(
    _ gradient: [Float], _ optimizer: Adafactor, index: Int, rate: Double, scale: Float = 1,
    sizes: [Float]? = nil, on workers: Workers = .inline
  ) {
    let buffer = FloatBuffer(count: gradient.count)
    buffer.matrix(rows: 1, columns: gradient.count).assign(gradient)
    let (sizes, shapes) = (sizes ?? weights, shapes)
    var factorSpan = factors.mutableSpan
    let step = optimizer.advance(
      shapes, &factorSpan, buffer, from: 0, index: index, learningRate: rate, gradientScale: scale,
      on: workers
    ) { squares(sizes[$0.range]) }
    var weightSpan = weights.mutableSpan
    step.update(weights: &weightSpan, gradient: gradient.span, from: 0, on: workers)
  }
}

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
    var tensor = Tensors(rows, columns, randoms(count, 0))
    var plain = PlainAdafactor(rows, columns, tensor.weights)
    for index in 1...5 {
      let gradient = randoms(count, UInt32(index)).map { $0 * Float(index) }
      tensor.update(gradient, optimizer, index: index, rate: 0.02, scale: 0.5)
      plain.update(gradient, index: index, rate: 0.02, optimizer: optimizer, scale: 0.5)
      for (found, wanted) in zip(tensor.weights, plain.weights) {
        #expect(abs(Double(found) - wanted) < 1e-5 * max(1e-2, abs(wanted)))
      }
    }
    for (found, wanted) in zip(tensor.factors, plain.rowMeans + plain.columnMeans) {
      #expect(abs(Double(found) / wanted - 1) < 1e-5)
    }
  }

  /// Goal: squares of rank one are kept as they are, so that the first step is the sign of the gradient.
  @Test func squaresOfRankOneLoseNothing() {
    let (rows, columns) = (7, 12)
    let (a, b) = (randoms(rows, 1), randoms(columns, 2))
    let gradient = (0..<rows * columns).map { a[$0 / columns] * b[$0 % columns] }
    var tensor = Tensors(rows, columns, Array(repeating: 0, count: gradient.count))
    tensor.update(gradient, Adafactor(scalesByParameters: false), index: 1, rate: 0.25)
    for (weight, g) in zip(tensor.weights, gradient) {
      #expect(abs(weight + (g < 0 ? -0.25 : 0.25)) < 1e-6)
    }
  }

  /// Goal: gradients that grow suddenly take no longer step than others: RMS(u) is clipped to 1.
  @Test func stepsAreClipped() {
    var tensor = Tensors(4, 4, Array(repeating: 0, count: 16))
    for (index, size) in [Float(1e-3), 1e3].enumerated() {
      tensor.weights = Array(repeating: 0, count: 16)
      tensor.update(
        Array(repeating: size, count: 16), Adafactor(scalesByParameters: false), index: index + 1,
        rate: 1)
    }
    // Without clipping it would be 1 / sqrt(1 - beta2) = 2^0.4.
    for weight in tensor.weights { #expect(abs(weight + 1) < 1e-5) }
  }

  /// Goal: no gradient moves nothing but by decay.
  @Test func zerosMoveNothing() {
    var tensor = Tensors(3, 5, randoms(15, 9))
    let before = tensor.weights.map { $0 }
    tensor.update(
      Array(repeating: 0, count: 15), Adafactor(scalesByParameters: false, weightDecay: 0.5),
      index: 1, rate: 0.1)
    #expect(tensor.weights == before.map { $0 * Float(1 - 0.1 * 0.5) })
  }

  /// Goal: tensors behind each other know nothing of each other, wherever they begin, on any number of
  /// threads; a block's halves move as they do, and a master of bfloat16 is near.
  @Test(arguments: [1, 3]) func tensorsStandForThemselves(_ threads: Int) {
    let tensors = [
      FactoredTensor(offset: 0, rows: 37, columns: 301, decays: true),
      FactoredTensor(offset: 11137, rows: 37, columns: 301, decays: true),
      FactoredTensor(offset: 22274, rows: 1, columns: 37, decays: false),
    ]
    let (count, workers) = (22311, Workers(count: threads))
    let weights = randoms(count, 5).enumerated().map { $0 < 11137 ? $1 : 0.01 * $1 }
    let gradient = randoms(count, 6)
    let optimizer = Adafactor(scalesByParameters: true, weightDecay: 0.1)
    let whole = Block(weights, .fp32, optimizer, tensors, gradient, on: workers)
    let half = Block(weights, .bf16, optimizer, tensors, gradient, on: workers)
    let halves = weights.map { widen(splitMaster($0).hi) }
    var together = Tensors(tensors, weights)
    together.update(gradient, optimizer, index: 1, rate: 0.1, sizes: halves, on: workers)
    #expect(whole.factors == half.factors && whole.factors == together.factors)
    var factors: [Float] = []
    for tensor in tensors {
      let (range, shape) = (tensor.range, tensor)
      var alone = Tensors(
        [FactoredTensor(offset: 0, rows: shape.rows, columns: shape.columns, decays: shape.decays)],
        Array(weights[range]))
      alone.update(
        Array(gradient[range]), optimizer, index: 1, rate: 0.1, sizes: Array(halves[range]))
      factors += alone.factors
      #expect(Array(together.weights[range]) == alone.weights)
      for (i, wanted) in zip(range, alone.weights) {
        // The sum of squares is added up in another order.
        #expect(abs(whole.weights[i] - wanted) <= 1e-6)
        #expect(abs(half.weights[i] - wanted) <= 0.02 * max(0.02, abs(wanted)))
      }
    }
    #expect(factors == together.factors)
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

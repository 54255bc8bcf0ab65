import Kernels
import Layers
import TestSupport
import Testing

@Suite struct FeedForwardTests {
  /// Which layer.
  struct Kind: CustomStringConvertible, Sendable {
    let activation: Activation
    var isGated = false
    var hasBiases = false

    var description: String {
      "\(activation)" + (isGated ? ", gated" : "") + (hasBiases ? ", with biases" : "")
    }
    static let all = [
      Kind(activation: .relu), Kind(activation: .relu, hasBiases: true),
      Kind(activation: .gelu), Kind(activation: .geluTanh, hasBiases: true),
      Kind(activation: .silu, isGated: true), Kind(activation: .geluTanh, isGated: true),
      Kind(activation: .relu, isGated: true),
      Kind(activation: .silu, isGated: true, hasBiases: true),
    ]
  }

  /// One layer with its tensors, and everything its calls write. N rows, D = width, F = units.
  struct Layer {
    let kind: Kind
    let h, w1, w2, w3, b1, b2, p, dy: Matrix
    let y, dh, dw1, dw2, dw3, db1, db2, dp: Matrix

    init(_ kind: Kind = Kind(activation: .relu), rows: Int, width: Int, units: Int) {
      self.kind = kind
      h = testMatrix(rows, width, seed: 1)
      w1 = testMatrix(units, width, seed: 2)
      w2 = testMatrix(units, width, seed: 3)
      w3 = testMatrix(units, width, seed: 6)
      (b1, b2) = (testMatrix(1, units, seed: 7), testMatrix(1, width, seed: 8))
      p = testMatrix(rows, 1, seed: 4)
      dy = testMatrix(rows, width, seed: 5)
      for i in 0..<rows { p[i, 0] = 0.5 + p[i, 0] / 3 }
      (y, dh) = (Matrix(rows: rows, columns: width), Matrix(rows: rows, columns: width))
      (dw1, dw2) = (Matrix(rows: units, columns: width), Matrix(rows: units, columns: width))
      dw3 = Matrix(rows: units, columns: width)
      (db1, db2) = (Matrix(rows: 1, columns: units), Matrix(rows: 1, columns: width))
      dp = Matrix(rows: rows, columns: 1)
    }

    /// The layer of some hidden units; the first slice brings b2.
    func slice(_ units: Range<Int>) -> FeedForward {
      FeedForward(
        kind.activation, w1: w1.rows(units), w2: w2.rows(units),
        w3: kind.isGated ? w3.rows(units) : nil, b1: kind.hasBiases ? b1.columns(units) : nil,
        b2: hasOutputBias(units) ? b2 : nil)
    }
    private func hasOutputBias(_ units: Range<Int>) -> Bool {
      kind.hasBiases && units.lowerBound == 0
    }
    private func scratch(_ units: Range<Int>) -> Matrix {
      testMatrix(h.rows, units.count, seed: 9)
    }

    func forward(units: Range<Int>, accumulate: Bool, on workers: Workers = .inline) {
      slice(units).forward(
        h, hidden: scratch(units), up: kind.isGated ? scratch(units) : nil, into: y,
        accumulate: accumulate, on: workers)
    }
    func backward(
      units: Range<Int>, isWeighted: Bool, accumulateInput: Bool, accumulateWeights: Bool = false,
      on workers: Workers = .inline
    ) {
      slice(units).backward(
        h, dy: dy, combine: isWeighted ? (p, dp) : nil, hidden: scratch(units),
        up: kind.isGated ? scratch(units) : nil, dhidden: scratch(units),
        into: .init(
          dh: dh, dw1: dw1.rows(units), dw2: dw2.rows(units),
          dw3: kind.isGated ? dw3.rows(units) : nil,
          db1: kind.hasBiases ? db1.columns(units) : nil,
          db2: hasOutputBias(units) ? db2 : nil, accumulateInput: accumulateInput,
          accumulateWeights: accumulateWeights), on: workers)
    }

    /// Pre-activations in Double.
    func preActivations() -> [Double] {
      var z = Reference.matmul(h, w1, transposeB: true)
      if kind.hasBiases { for i in z.indices { z[i] += Double(b1[0, i % b1.columns]) } }
      return z
    }

    /// The output by plain loops in Double.
    func slowOutput() -> [Double] {
      let (z, up) = (preActivations(), Reference.matmul(h, w3, transposeB: true))
      return (0..<h.rows).flatMap { i in
        (0..<h.columns).map { j in
          (0..<w1.rows).reduce(kind.hasBiases ? Double(b2[0, j]) : 0) { sum, unit in
            let index = i * w1.rows + unit
            let gate = kind.isGated ? up[index] : 1
            return sum + slowActivation(kind.activation, z[index]) * gate * Double(w2[unit, j])
          }
        }
      }
    }
  }

  @Test(arguments: Kind.all, [[1, 1, 1], [3, 7, 5], [40, 9, 33]])
  func equalsTheFormula(kind: Kind, shape: [Int]) {
    let layer = Layer(kind, rows: shape[0], width: shape[1], units: shape[2])
    layer.forward(units: 0..<shape[2], accumulate: false)
    let expected = layer.slowOutput()
    #expect(zip(layer.y.values, expected).allSatisfy { abs(Double($0) - $1) < 1e-5 })
    layer.forward(units: 0..<shape[2], accumulate: true)
    #expect(zip(layer.y.values, expected).allSatisfy { abs(Double($0) - 2 * $1) < 2e-5 })
  }

  /// Goal: every gradient, with and without combine weights. The seeds are such that a step of 2^-7
  /// times an input below 1 takes no hidden unit of ReLU across the kink at 0, which is checked.
  @Test(arguments: Kind.all, [false, true])
  func gradientsEqualFiniteDifferences(kind: Kind, isWeighted: Bool) {
    let (rows, width, units) = (4, 5, 6)
    let layer = Layer(kind, rows: rows, width: width, units: units)
    if kind.activation == .relu {
      let distance = layer.preActivations().map(abs).min() ?? 0
      #expect(distance > 0x1p-7, "choose a seed whose units are far from 0")
    }
    layer.backward(units: 0..<units, isWeighted: isWeighted, accumulateInput: false)
    func loss() -> Double {
      layer.forward(units: 0..<units, accumulate: false)
      if isWeighted { scaleRows(layer.y, by: layer.p.values, on: .inline) }
      return inner(layer.y, layer.dy)
    }
    expectGradient(layer.dh, of: loss, withRespectTo: layer.h, "dh")
    expectGradient(layer.dw1, of: loss, withRespectTo: layer.w1, "dw1")
    expectGradient(layer.dw2, of: loss, withRespectTo: layer.w2, "dw2")
    if kind.isGated { expectGradient(layer.dw3, of: loss, withRespectTo: layer.w3, "dw3") }
    if kind.hasBiases {
      expectGradient(layer.db1, of: loss, withRespectTo: layer.b1, "db1")
      expectGradient(layer.db2, of: loss, withRespectTo: layer.b2, "db2")
    }
    if isWeighted { expectGradient(layer.dp, of: loss, withRespectTo: layer.p, "dp") }
  }

  /// Goal: summed over slices of hidden units, output and gradients are those of the whole.
  /// Tolerance: another order of at most 33 additions.
  @Test(arguments: Kind.all) func slicesSumToTheWhole(kind: Kind) {
    let (whole, sliced) = (
      Layer(kind, rows: 10, width: 9, units: 33), Layer(kind, rows: 10, width: 9, units: 33)
    )
    whole.forward(units: 0..<33, accumulate: false)
    whole.backward(units: 0..<33, isWeighted: true, accumulateInput: false)
    for (number, units) in [0..<16, 16..<20, 20..<33].enumerated() {
      sliced.forward(units: units, accumulate: number > 0)
      sliced.backward(units: units, isWeighted: true, accumulateInput: number > 0)
    }
    for (a, b) in [
      (whole.y, sliced.y), (whole.dh, sliced.dh), (whole.dp, sliced.dp),
      (whole.dw1, sliced.dw1), (whole.dw2, sliced.dw2), (whole.dw3, sliced.dw3),
      (whole.db1, sliced.db1), (whole.db2, sliced.db2),
    ] {
      #expect(zip(a.values, b.values).allSatisfy { abs($0 - $1) < 1e-5 })
    }
  }

  @Test(arguments: Kind.all) func weightGradientsAccumulateOnRequest(kind: Kind) {
    let layer = Layer(kind, rows: 6, width: 4, units: 8)
    let gradients = [layer.dw1, layer.dw2, layer.dw3, layer.db1, layer.db2]
    layer.backward(units: 0..<8, isWeighted: false, accumulateInput: false)
    let once = gradients.flatMap(\.values)
    layer.backward(
      units: 0..<8, isWeighted: false, accumulateInput: false, accumulateWeights: true)
    #expect(
      zip(gradients.flatMap(\.values), once).allSatisfy {
        abs($0 - 2 * $1) <= 1e-6 * abs($1) + 1e-6
      })
    layer.backward(units: 0..<8, isWeighted: false, accumulateInput: false)
    #expect(gradients.flatMap(\.values) == once, "overwritten")
  }

  @Test(arguments: Kind.all) func sameBitsForAnyNumberOfWorkers(kind: Kind) {
    let results = [1, 2, 3].map { threads in
      let (layer, workers) = (
        Layer(kind, rows: 300, width: 40, units: 270), Workers(count: threads)
      )
      layer.forward(units: 0..<270, accumulate: false, on: workers)
      layer.backward(units: 0..<270, isWeighted: true, accumulateInput: false, on: workers)
      return [
        layer.y, layer.dh, layer.dw1, layer.dw2, layer.dw3, layer.db1, layer.db2, layer.dp,
      ].flatMap(bits)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])
  }
}

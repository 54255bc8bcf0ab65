import Kernels
import Layers
import TestSupport
import Testing

@Suite struct FeedForwardTests {
  /// One layer with its tensors, and everything its calls write. N rows, D = width, F = units.
  struct Layer {
    let h, w1, w2, p, dy: Matrix
    let y, dh, dw1, dw2, dp: Matrix

    init(rows: Int, width: Int, units: Int) {
      h = testMatrix(rows, width, seed: 1)
      w1 = testMatrix(units, width, seed: 2)
      w2 = testMatrix(units, width, seed: 3)
      p = testMatrix(rows, 1, seed: 4)
      dy = testMatrix(rows, width, seed: 5)
      for i in 0..<rows { p[i, 0] = 0.5 + p[i, 0] / 3 }
      (y, dh) = (Matrix(rows: rows, columns: width), Matrix(rows: rows, columns: width))
      (dw1, dw2) = (Matrix(rows: units, columns: width), Matrix(rows: units, columns: width))
      dp = Matrix(rows: rows, columns: 1)
    }

    func forward(units: Range<Int>, accumulate: Bool, on workers: Workers = .inline) {
      FeedForward.forward(
        h, w1: w1.rows(units), w2: w2.rows(units),
        hidden: Matrix(rows: h.rows, columns: units.count), into: y, accumulate: accumulate,
        on: workers)
    }
    func backward(
      units: Range<Int>, isWeighted: Bool, accumulateInput: Bool, accumulateWeights: Bool = false,
      on workers: Workers = .inline
    ) {
      FeedForward.backward(
        h, w1: w1.rows(units), w2: w2.rows(units), dy: dy, combine: isWeighted ? (p, dp) : nil,
        hidden: Matrix(rows: h.rows, columns: units.count),
        dhidden: Matrix(rows: h.rows, columns: units.count),
        into: .init(
          dh: dh, dw1: dw1.rows(units), dw2: dw2.rows(units), accumulateInput: accumulateInput,
          accumulateWeights: accumulateWeights), on: workers)
    }
  }

  @Test(arguments: [(1, 1, 1), (3, 7, 5), (40, 9, 33)])
  func equalsTheFormula(rows: Int, width: Int, units: Int) {
    let layer = Layer(rows: rows, width: width, units: units)
    layer.forward(units: 0..<units, accumulate: false)
    for i in 0..<rows {
      for j in 0..<width {
        var expected = 0.0
        for unit in 0..<units {
          let sum = (0..<width).reduce(0.0) {
            $0 + Double(layer.h[i, $1]) * Double(layer.w1[unit, $1])
          }
          expected += max(sum, 0) * Double(layer.w2[unit, j])
        }
        #expect(abs(Double(layer.y[i, j]) - expected) < 1e-5)
      }
    }
  }

  /// Goal: every gradient, with and without combine weights. The seeds are such that a step of 2^-7
  /// times an input below 1 takes no hidden unit across the kink at 0, which is checked.
  @Test(arguments: [false, true]) func gradientsEqualFiniteDifferences(isWeighted: Bool) {
    let (rows, width, units) = (4, 5, 6)
    let layer = Layer(rows: rows, width: width, units: units)
    #expect(distanceFromKinks(layer) > 0x1p-7, "choose a seed whose units are far from 0")
    layer.backward(units: 0..<units, isWeighted: isWeighted, accumulateInput: false)
    func loss() -> Double {
      layer.forward(units: 0..<units, accumulate: false)
      if isWeighted { scaleRows(layer.y, by: layer.p.values, on: .inline) }
      return inner(layer.y, layer.dy)
    }
    expectGradient(layer.dh, of: loss, withRespectTo: layer.h, "dh")
    expectGradient(layer.dw1, of: loss, withRespectTo: layer.w1, "dw1")
    expectGradient(layer.dw2, of: loss, withRespectTo: layer.w2, "dw2")
    if isWeighted { expectGradient(layer.dp, of: loss, withRespectTo: layer.p, "dp") }
  }

  private func distanceFromKinks(_ layer: Layer) -> Double {
    Reference.matmul(layer.h, layer.w1, transposeB: true).map(abs).min() ?? 0
  }

  /// Goal: summed over slices of hidden units, output and gradients are those of the whole.
  /// Tolerance: another order of at most 33 additions.
  @Test func slicesSumToTheWhole() {
    let (whole, sliced) = (
      Layer(rows: 10, width: 9, units: 33), Layer(rows: 10, width: 9, units: 33)
    )
    whole.forward(units: 0..<33, accumulate: false)
    whole.backward(units: 0..<33, isWeighted: true, accumulateInput: false)
    for (number, units) in [0..<16, 16..<20, 20..<33].enumerated() {
      sliced.forward(units: units, accumulate: number > 0)
      sliced.backward(units: units, isWeighted: true, accumulateInput: number > 0)
    }
    for (a, b) in [
      (whole.y, sliced.y), (whole.dh, sliced.dh), (whole.dp, sliced.dp),
      (whole.dw1, sliced.dw1), (whole.dw2, sliced.dw2),
    ] {
      #expect(zip(a.values, b.values).allSatisfy { abs($0 - $1) < 1e-5 })
    }
  }

  @Test func weightGradientsAccumulateOnRequest() {
    let layer = Layer(rows: 6, width: 4, units: 8)
    layer.backward(units: 0..<8, isWeighted: false, accumulateInput: false)
    let once = layer.dw1.values + layer.dw2.values
    layer.backward(
      units: 0..<8, isWeighted: false, accumulateInput: false, accumulateWeights: true)
    #expect(layer.dw1.values + layer.dw2.values == once.map { 2 * $0 })
  }

  @Test func sameBitsForAnyNumberOfWorkers() {
    let results = [1, 2, 3].map { threads in
      let (layer, workers) = (
        Layer(rows: 300, width: 40, units: 270), Workers(count: threads)
      )
      layer.forward(units: 0..<270, accumulate: false, on: workers)
      layer.backward(units: 0..<270, isWeighted: true, accumulateInput: false, on: workers)
      return [layer.y, layer.dh, layer.dw1, layer.dw2, layer.dp].flatMap(bits)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])
  }
}

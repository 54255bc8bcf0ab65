import Kernels
import Layers
import TestSupport
import Testing

@Suite struct LayerNormTests {
  let norm = LayerNorm()

  /// Goal: the formula in Double. Tolerance: values below 10, a few roundings.
  @Test(arguments: [(1, 1), (3, 7), (33, 16), (5, 100)])
  func equalsTheFormula(rows: Int, columns: Int) {
    let x = testMatrix(rows, columns, seed: 1, padding: 2)
    let (gain, bias) = (testMatrix(1, columns, seed: 2), testMatrix(1, columns, seed: 3))
    let y = Matrix(rows: rows, columns: columns)
    norm.forward(x, gain: gain, bias: bias, into: y, on: .inline)
    for i in 0..<rows {
      let row = (0..<columns).map { Double(x[i, $0]) }
      let mean = row.reduce(0, +) / Double(columns)
      let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
      for j in 0..<columns {
        let expected =
          (row[j] - mean) / (variance + 1e-5).squareRoot() * Double(gain[0, j]) + Double(bias[0, j])
        #expect(abs(Double(y[i, j]) - expected) < 5e-6)
      }
    }
  }

  @Test func gradientsEqualFiniteDifferences() {
    let x = testMatrix(3, 11, seed: 4)
    let (gain, bias) = (testMatrix(1, 11, seed: 5), testMatrix(1, 11, seed: 6))
    let dy = testMatrix(3, 11, seed: 7)
    let (dx, dgain, dbias) = (
      Matrix(rows: 3, columns: 11), Matrix(rows: 1, columns: 11), Matrix(rows: 1, columns: 11)
    )
    let y = Matrix(rows: 3, columns: 11)
    func loss() -> Double {
      norm.forward(x, gain: gain, bias: bias, into: y, on: .inline)
      return inner(y, dy)
    }
    norm.backward(
      x, gain: gain, dy: dy, dx: dx, accumulate: false, dgain: dgain, dbias: dbias, on: .inline)
    expectGradient(dx, of: loss, withRespectTo: x, "dx")
    expectGradient(dgain, of: loss, withRespectTo: gain, "dgain")
    expectGradient(dbias, of: loss, withRespectTo: bias, "dbias")
  }

  /// Goal: gradients add to what is there, and the number of workers does not show.
  @Test func accumulatesWithTheSameBitsForAnyNumberOfWorkers() {
    let (x, dy) = (testMatrix(150, 130, seed: 8), testMatrix(150, 130, seed: 9))
    let gain = testMatrix(1, 130, seed: 10)
    let results = [1, 2, 3].map { threads in
      let dx = testMatrix(150, 130, seed: 11)
      let (dgain, dbias) = (testMatrix(1, 130, seed: 12), testMatrix(1, 130, seed: 13))
      norm.backward(
        x, gain: gain, dy: dy, dx: dx, accumulate: true, dgain: dgain, dbias: dbias,
        on: Workers(count: threads))
      return bits(dx) + bits(dgain) + bits(dbias)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])

    let (once, twice) = (Matrix(rows: 150, columns: 130), Matrix(rows: 150, columns: 130))
    let (dgain, dbias) = (Matrix(rows: 1, columns: 130), Matrix(rows: 1, columns: 130))
    for (dx, accumulate) in [(once, false), (twice, false), (twice, true)] {
      norm.backward(
        x, gain: gain, dy: dy, dx: dx, accumulate: accumulate, dgain: dgain, dbias: dbias,
        on: .inline)
    }
    #expect(twice.values == once.values.map { 2 * $0 })
  }
}

import Kernels
import Layers
import TestSupport
import Testing

@Suite struct RMSNormTests {
  /// Goal: the formula in Double, over whole rows and over heads. Tolerance: values below 10, a few
  /// roundings.
  @Test(arguments: [(1, 1, 1), (3, 7, 1), (33, 16, 1), (5, 100, 1), (40, 60, 5), (3, 48, 3)])
  func equalsTheFormula(rows: Int, columns: Int, groups: Int) {
    let norm = RMSNorm(epsilon: 1e-3, groups: groups)
    let width = columns / groups
    let (x, gain) = (testMatrix(rows, columns, seed: 1, padding: 2), testMatrix(1, width, seed: 2))
    let y = Matrix(rows: rows, columns: columns)
    norm.forward(x, gain: gain, into: y, on: .inline)
    for i in 0..<rows {
      for group in 0..<groups {
        let row = (0..<width).map { Double(x[i, group * width + $0]) }
        let root = (row.reduce(0) { $0 + $1 * $1 } / Double(width) + 1e-3).squareRoot()
        for j in 0..<width {
          let expected = row[j] / root * Double(gain[0, j])
          #expect(abs(Double(y[i, group * width + j]) - expected) < 2e-6)
        }
      }
    }
    norm.forward(x, gain: gain, into: x, on: .inline)
    #expect(bits(x) == bits(y), "in place")
  }

  @Test(arguments: [(11, 1), (12, 3), (40, 2)])
  func gradientsEqualFiniteDifferences(columns: Int, groups: Int) {
    let norm = RMSNorm(epsilon: 1e-6, groups: groups)
    let (x, dy) = (testMatrix(3, columns, seed: 4), testMatrix(3, columns, seed: 7))
    let gain = testMatrix(1, columns / groups, seed: 5)
    let (dx, dgain) = (testMatrix(3, columns, seed: 8), Matrix(rows: 1, columns: columns / groups))
    let y = Matrix(rows: 3, columns: columns)
    func loss() -> Double {
      norm.forward(x, gain: gain, into: y, on: .inline)
      return inner(y, dy)
    }
    norm.backward(
      x, gain: gain, dy: dy, dx: dx, accumulate: false, dgain: dgain, on: .inline)
    expectGradient(dx, of: loss, withRespectTo: x, "dx")
    expectGradient(dgain, of: loss, withRespectTo: gain, "dgain")
  }

  /// Goal: gradients add to what is there, and the number of workers does not show.
  @Test(arguments: [1, 5]) func accumulatesWithTheSameBitsForAnyNumberOfWorkers(groups: Int) {
    let norm = RMSNorm(epsilon: 1e-5, groups: groups)
    let (x, dy) = (testMatrix(150, 130, seed: 8), testMatrix(150, 130, seed: 9))
    let gain = testMatrix(1, 130 / groups, seed: 10)
    let results = [1, 2, 3].map { threads in
      let (y, dx) = (Matrix(rows: 150, columns: 130), testMatrix(150, 130, seed: 11))
      let dgain = testMatrix(1, 130 / groups, seed: 12)
      let workers = Workers(count: threads)
      norm.forward(x, gain: gain, into: y, on: workers)
      norm.backward(
        x, gain: gain, dy: dy, dx: dx, accumulate: true, dgain: dgain, on: workers)
      return bits(y) + bits(dx) + bits(dgain)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])

    let (once, twice) = (Matrix(rows: 150, columns: 130), Matrix(rows: 150, columns: 130))
    let dgain = Matrix(rows: 1, columns: 130 / groups)
    for (dx, accumulate) in [(once, false), (twice, false), (twice, true)] {
      norm.backward(
        x, gain: gain, dy: dy, dx: dx, accumulate: accumulate, dgain: dgain, on: .inline)
    }
    #expect(twice.values == once.values.map { 2 * $0 })
  }
}

import Kernels
import TestSupport
import Testing

@Suite struct ReductionsTests {
  /// Every remainder of the unrolled loops. Tolerance: rounding of at most 100 terms below 1.
  @Test(arguments: Array(0...70) + [100]) func equalTheReference(count: Int) {
    let x = testMatrix(1, count, seed: 1)
    let y = testMatrix(1, count, seed: 2)
    let (a, b) = (x.values, y.values)
    let ones = Array(repeating: Float(1), count: count)
    let shifted = a.map { $0 - 0.25 }
    let (product, total) = (Double(dot(x.row(0), y.row(0))), Double(sum(x.row(0))))
    #expect(abs(product - Reference.dot(a, b)) < 1e-5)
    #expect(abs(total - Reference.dot(a, ones)) < 1e-5)
    let around = Double(sumOfSquares(x.row(0), around: 0.25))
    #expect(abs(around - Reference.dot(shifted, shifted)) < 2e-5)
  }

  @Test func sumsSquaresOverPieces() {
    let x = testMatrix(3, 2500, seed: 3, padding: 4)
    let expected = Reference.dot(x.values, x.values)
    #expect(abs(sumOfSquares(x) - expected) < 1e-6 * expected)
  }

  /// Any number of workers, more pieces than one task has, rows and columns of pieces.
  @Test(arguments: [(1, 70_000), (50, 1030), (0, 3), (3, 0)])
  func sumsSquaresTheSameOnAnyWorkers(rows: Int, columns: Int) {
    let x = testMatrix(rows, columns, seed: 7)
    let alone = sumOfSquares(x)
    #expect(abs(alone - Reference.dot(x.values, x.values)) <= 1e-5 * alone)
    for count in [2, 3] { #expect(sumOfSquares(x, on: Workers(count: count)) == alone) }
  }

  /// Tolerance: 40 terms below 1, plus what is there.
  @Test(arguments: [1, 64, 130]) func sumsColumns(columns: Int) {
    let (x, weights) = (testMatrix(40, columns, seed: 4, padding: 3), testMatrix(40, 1, seed: 5))
    let ones = Matrix(rows: 40, columns: 1)
    ones.fill(1)
    for (weights, given) in [(ones, nil), (weights, weights)] {
      let target = testMatrix(1, columns, seed: 6)
      let before = target.values.map(Double.init)
      let expected = Reference.matmul(weights, x, transposeA: true)
      sumColumns(x, weights: given, into: target, accumulate: true, on: Workers(count: 2))
      #expect(largestDifference(target.values, zip(before, expected).map { $0 + $1 }) < 1e-5)
      sumColumns(x, weights: given, into: target, accumulate: false, on: .inline)
      #expect(largestDifference(target.values, expected) < 1e-5)
    }
  }
}

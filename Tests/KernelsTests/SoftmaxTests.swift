import Kernels
import TestSupport
import Testing

@Suite struct SoftmaxTests {
  /// Goal: the stated accuracy over the whole range: 2 units in the last place.
  @Test func exponentialIsWithinTwoUnits() {
    var worst = 0
    for step in 0..<200_000 {
      let x = Float(-87.3 + 175.3 * Double(step) / 200_000)
      let (value, expected) = (exponential(x), Reference.exponential(x))
      worst = max(worst, abs(Int(value.bitPattern) - Int(expected.bitPattern)))
    }
    #expect(worst <= 2)
  }

  @Test func exponentialAtTheEdges() {
    #expect(exponential(0) == 1)
    #expect(exponential(-0.0) == 1)
    #expect(exponential(-88) == 0)
    #expect(exponential(-.infinity) == 0)
    #expect(exponential(-.greatestFiniteMagnitude) == 0)
    #expect(exponential(.nan).isNaN)
    #expect(exponential(-87.3) > 0)
  }

  /// Tolerance: x - maximum, up to 40, is rounded by up to 2^-19 = 1.9e-6, which is the relative
  /// error of its power; a few units in the last place come on top.
  @Test(arguments: [1, 2, 7, 8, 9, 31, 64, 100]) func equalsTheReference(count: Int) {
    let x = testMatrix(2, count, seed: 1, padding: 1)
    scale(x, by: 20, on: .inline)
    let expected = Reference.softmax(x.rows(1..<2).values)
    softmaxRows(x, on: .inline)
    let result = x.rows(1..<2).values
    #expect(zip(result, expected).allSatisfy { abs(Double($0) - $1) <= 2.5e-6 * $1 + 1e-30 })
  }

  @Test func gradientEqualsTheReference() {
    let (y, dy) = (testMatrix(1, 21, seed: 2), testMatrix(1, 21, seed: 3))
    softmax(y.row(0))
    let expected = Reference.softmaxBackward(
      output: y.values.map(Double.init), dy.values.map(Double.init))
    softmaxBackward(output: y.row(0), dy.row(0))
    #expect(largestDifference(dy.values, expected) < 1e-6)
  }

  @Test func theLowestOfEqualsIsTheLargest() {
    let x = Matrix(rows: 1, columns: 11)
    (x[0, 4], x[0, 9]) = (2, 2)
    let (index, value) = (indexOfLargest(x.row(0)), largest(x.row(0)))
    #expect(index == 4)
    #expect(value == 2)
    x.fill(-3)
    x[0, 7] = -2.5
    let highest = largest(x.row(0))
    #expect(highest == -2.5)
  }

  @Test func aNaNReachesTheResult() {
    let x = Matrix(rows: 1, columns: 9)
    x[0, 3] = .nan
    softmaxRows(x, on: .inline)
    #expect(x.values.allSatisfy { $0.isNaN })
  }
}

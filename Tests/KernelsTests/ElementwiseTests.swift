import Kernels
import TestSupport
import Testing

@Suite struct ElementwiseTests {
  static let shapes = [(1, 1), (3, 7), (33, 8), (70, 65), (5, 129)]

  @Test(arguments: shapes) func addsAndScales(rows: Int, columns: Int) {
    let x = testMatrix(rows, columns, seed: 1, padding: 3)
    let y = testMatrix(rows, columns, seed: 2)
    let (a, b) = (x.values, y.values)
    addScaled(x, by: 0.3, to: y, on: .inline)
    #expect(y.values == zip(a, b).map { $1.addingProduct(0.3, $0) })
    y.assign(b)
    add(x, to: y, on: Workers(count: 2))
    #expect(y.values == zip(a, b).map { $0 + $1 })
    scale(y, by: -2, on: .inline)
    #expect(y.values == zip(a, b).map { -2 * ($0 + $1) })
  }

  @Test(arguments: shapes) func addsARowToEach(rows: Int, columns: Int) {
    let (row, y) = (testMatrix(1, columns, seed: 6), testMatrix(rows, columns, seed: 7, padding: 1))
    let (added, before) = (row.values, y.values)
    addRow(row, to: y, on: Workers(count: 2))
    #expect(y.values == before.indices.map { before[$0] + added[$0 % columns] })
  }

  @Test func scalesEachRow() {
    let x = testMatrix(4, 9, seed: 3)
    let before = x.values
    let factors: [Float] = [2, 0, -1, 0.5]
    scaleRows(x, by: factors, on: .inline)
    #expect(x.values == before.indices.map { before[$0] * factors[$0 / 9] })
  }

  @Test(arguments: shapes) func reluAndItsGradient(rows: Int, columns: Int) {
    let (y, dy) = (testMatrix(rows, columns, seed: 4), testMatrix(rows, columns, seed: 5))
    let (before, gradient) = (y.values, dy.values)
    for i in 0..<rows { reluBoth(y.row(i), dy.row(i)) }
    #expect(y.values == before.map { max($0, 0) })
    #expect(dy.values == zip(before, gradient).map { $0 > 0 ? $1 : 0 })
  }

  /// Goal: a diverged value is not hidden as a zero.
  @Test func reluKeepsNaN() {
    let (y, dy) = (Matrix(rows: 1, columns: 9), Matrix(rows: 1, columns: 9))
    y.fill(.nan)
    reluBoth(y.row(0), dy.row(0))
    #expect(y.values.allSatisfy { $0.isNaN })
  }
}

import Kernels
import TestSupport
import Testing

@Suite struct GatherTests {
  static let indices: [Int32] = [4, 0, 4, 2, 4]

  @Test func gathersRows() {
    let source = testMatrix(5, 70, seed: 1, padding: 1)
    let target = Matrix(rows: 5, columns: 70)
    gatherRows(source, Self.indices, into: target, on: .inline)
    for (i, index) in Self.indices.enumerated() {
      #expect(target.rows(i..<i + 1).values == source.rows(Int(index)..<Int(index) + 1).values)
    }
  }

  /// Goal: repeated indices add up, in order, with the same bits on any number of workers.
  @Test(arguments: [1, 2, 3]) func scattersRepeatedRowsInOrder(threads: Int) {
    let source = testMatrix(5, 200, seed: 2)
    let target = testMatrix(5, 200, seed: 3)
    var expected = target.values
    for (i, index) in Self.indices.enumerated() {
      for j in 0..<200 {
        expected[Int(index) * 200 + j] = expected[Int(index) * 200 + j]
          .addingProduct(0.7, source[i, j])
      }
    }
    scatterAddRows(source, Self.indices, scale: 0.7, to: target, on: Workers(count: threads))
    #expect(target.values == expected)
  }
}

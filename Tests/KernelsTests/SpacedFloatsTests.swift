import Kernels
import TestSupport
import Testing

/// Weights whose rows lie apart.
@Suite struct SpacedFloatsTests {
  /// Goal: rows that would begin at the same place of their pages do not, and others stay as they are.
  @Test(arguments: [(1024, 1040), (3072, 3088), (768, 768), (1000, 1000), (0, 0)])
  func rowsLieApart(columns: Int, stride: Int) {
    #expect(Matrix.spacedStride(columns: columns) == stride)
    let matrix = Matrix(spacedRows: 3, columns: columns)
    #expect(matrix.stride == stride && matrix.rows == 3 && matrix.columns == columns)
    #expect(matrix.values.allSatisfy { $0 == 0 })
  }

  /// Goal: planes come to the same places whatever the workers and wherever their chunks end: inside a
  /// row, between two, and in the rest behind the matrix. What lies between rows is left alone.
  @Test(arguments: [1, 3], [(1024, 21), (1000, 40), (5, 4)])
  func takesPlanes(threads: Int, shape: (columns: Int, rows: Int)) {
    let target = SpacedFloats(
      Matrix(spacedRows: shape.rows, columns: shape.columns), rest: Matrix(rows: 1, columns: 77))
    let weights = testMatrix(1, target.count, seed: 3)
    #expect(target.count == shape.rows * shape.columns + 77)
    var hi = [UInt16](repeating: 0, count: target.count)
    var lo = hi
    split(weights, &hi, &lo)
    let workers = Workers(count: threads)
    joinMaster(hi: hi.span, lo: lo.span, into: target, on: workers)
    #expect(target.matrix.values + target.rest.values == weights.values)
    widen(hi.span, into: target, on: workers)
    #expect(target.matrix.values + target.rest.values == hi.map { widen($0) })
    let end = target.matrix.stride * shape.rows
    let gaps = (0..<end).filter { $0 % target.matrix.stride >= shape.columns }
    let whole = target.matrix.buffer.matrix(rows: 1, columns: end)
    #expect(gaps.allSatisfy { whole[0, $0] == 0 })
  }

  private func split(_ weights: Matrix, _ hi: inout [UInt16], _ lo: inout [UInt16]) {
    var high = hi.mutableSpan
    var low = lo.mutableSpan
    splitMaster(weights, hi: &high, lo: &low)
  }
}

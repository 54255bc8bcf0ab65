import Foundation
import Kernels
import TestSupport
import Testing

@Suite struct MatmulTests {
  struct Shape: CustomStringConvertible, Sendable {
    let m, n, k: Int
    var description: String { "\(m) x \(n) x \(k)" }
  }
  /// Ones, primes, tile edges one to either side, and an empty sum.
  static let shapes = [
    Shape(m: 1, n: 1, k: 1), Shape(m: 3, n: 5, k: 7), Shape(m: 17, n: 1, k: 31),
    Shape(m: 127, n: 257, k: 13), Shape(m: 129, n: 255, k: 64), Shape(m: 128, n: 256, k: 33),
    Shape(m: 300, n: 520, k: 3), Shape(m: 4, n: 6, k: 0), Shape(m: 0, n: 3, k: 2),
  ]

  /// Goal: the double loop's result, with and without transposition, strides, scale and addition.
  /// Tolerance: k products below 1 in magnitude, each rounded at 2^-24, with room for their sum.
  @Test(arguments: shapes, [(false, false), (true, false), (false, true), (true, true)])
  func equalsTheReference(shape: Shape, transpose: (a: Bool, b: Bool)) {
    for library in ProductLibrary.installed { expectReference(shape, transpose, library) }
  }

  private func expectReference(
    _ shape: Shape, _ transpose: (a: Bool, b: Bool), _ library: ProductLibrary
  ) {
    let (m, n, k) = (shape.m, shape.n, shape.k)
    let a = transpose.a ? testMatrix(k, m, seed: 1, padding: 3) : testMatrix(m, k, seed: 1)
    let b = transpose.b ? testMatrix(n, k, seed: 2) : testMatrix(k, n, seed: 2, padding: 1)
    let c = testMatrix(m, n, seed: 3, padding: 2)
    let before = c.values.map(Double.init)
    let product = Reference.matmul(a, b, transposeA: transpose.a, transposeB: transpose.b)
    let tolerance = 1e-7 * Double(k + 2)
    matmul(
      a, b, transposeA: transpose.a, transposeB: transpose.b, into: c, scale: 0.5,
      accumulate: true, on: .inline, by: library)
    #expect(largestDifference(c.values, zip(before, product).map { $0 + 0.5 * $1 }) < tolerance)
    matmul(
      a, b, transposeA: transpose.a, transposeB: transpose.b, into: c, on: Workers(count: 2),
      by: library)
    #expect(largestDifference(c.values, product) < tolerance)
  }

  /// Goal: results do not depend on the number of workers.
  @Test(arguments: ProductLibrary.installed)
  func sameBitsForAnyNumberOfWorkers(library: ProductLibrary) {
    let (a, b) = (testMatrix(391, 217, seed: 4), testMatrix(217, 603, seed: 5))
    let results = [1, 2, 3].map { count in
      let c = Matrix(rows: 391, columns: 603)
      matmul(a, b, into: c, on: Workers(count: count), by: library)
      return bits(c)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])
  }

  /// Goal: overwriting means overwriting, even of garbage, by kernels for few outputs and for many.
  @Test(arguments: ProductLibrary.installed, [2, 300])
  func overwritesNaN(library: ProductLibrary, size: Int) {
    let (a, b) = (testMatrix(size, size, seed: 6), testMatrix(size, size, seed: 7))
    for (transposeA, transposeB) in [(false, false), (true, false), (false, true)] {
      let c = Matrix(rows: size, columns: size)
      c.fill(.nan)
      matmul(
        a, b, transposeA: transposeA, transposeB: transposeB, into: c, on: .inline, by: library)
      #expect(c.values.allSatisfy { $0.isFinite })
    }
  }

  @Test func describesItsLibrary() {
    #expect(ProductLibrary.openBLAS.description.hasPrefix("OpenBLAS 0."))
    #expect(ProductLibrary.best.description.contains(/^(OpenBLAS|oneDNN) [0-9]+\.[0-9]+/))
  }

  /// Goal: kernels are those that were chosen for the processor's instructions, or by the user, also
  /// where OpenBLAS is older than the processor.
  @Test func usesTheProcessorsInstructions() throws {
    let chosen = try #require(ProcessInfo.processInfo.environment["OPENBLAS_CORETYPE"])
    let description = ProductLibrary.openBLAS.description.lowercased()
    #expect(description.hasSuffix("kernels for \(chosen.lowercased())"))
  }

  /// Goal: a block computes the same wherever in memory it came to lie, and whatever lies between its
  /// rows: what is kept of a layer is a part of wider rows where what is computed again is not. Shapes:
  /// the largest tile, few rows of long sums, and an odd one.
  @Test(
    arguments: ProductLibrary.installed,
    [Shape(m: 768, n: 768, k: 768), Shape(m: 40, n: 384, k: 3072), Shape(m: 70, n: 130, k: 96)])
  func sameBitsAtEveryAddress(library: ProductLibrary, shape: Shape) {
    for (transposeA, transposeB) in [(false, false), (true, false), (false, true)] {
      for accumulate in [false, true] {
        let a =
          transposeA ? testMatrix(shape.k, shape.m, seed: 8) : testMatrix(shape.m, shape.k, seed: 8)
        let b =
          transposeB ? testMatrix(shape.n, shape.k, seed: 9) : testMatrix(shape.k, shape.n, seed: 9)
        let results = [(0, 1), (5, 1), (16, 3), (0, 4)].map { offset, width in
          let c = moved(testMatrix(shape.m, shape.n, seed: 10), offset, width)
          matmul(
            moved(a, offset, width), moved(b, offset, width), transposeA: transposeA,
            transposeB: transposeB, into: c, accumulate: accumulate, on: .inline, by: library)
          return bits(c)
        }
        #expect(results.allSatisfy { $0 == results[0] })
      }
    }
  }

  /// The same numbers, `offset` floats into a buffer, in rows that are `width` times as far apart.
  private func moved(_ matrix: Matrix, _ offset: Int, _ width: Int) -> Matrix {
    let columns = matrix.columns * width
    let buffer = FloatBuffer(count: offset + matrix.rows * columns)
    let copy = buffer.matrix(rows: matrix.rows, columns: columns, offset: offset)
      .columns(0..<matrix.columns)
    copy.copy(from: matrix)
    return copy
  }
}

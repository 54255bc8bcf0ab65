import Base
import BenchHarness
import Glibc
import Kernels

/// Large products by OpenBLAS: what smaller ones can reach. Rates are GFLOP/s.
enum ProductCeiling {
  /// One product of `size` cubed by OpenBLAS's own threads, and one for each of our workers at once.
  static func all(size: Int, on workers: Workers) -> [Entrant] {
    let operands = (0..<workers.count).map { Operands(size, seed: UInt64($0)) }
    let flops = 2 * Double(size) * Double(size) * Double(size)
    let own = Entrant("one product, OpenBLAS's threads") {
      let time = withBlasThreads(workers.count) { seconds { operands[0].multiply() } }
      // Its threads go on looking for work for a while, which the next entrant must not pay for.
      if workers.count > 1 { usleep(100_000) }
      return Outcome(rate: flops / time / 1e9, checksum: operands[0].checksum)
    }
    guard workers.count > 1 else { return [own] }
    let each = Entrant("a product on each worker") {
      let time = withBlasThreads(1) {
        seconds { workers.forEach(workers.count) { operands[$0].multiply() } }
      }
      return Outcome(
        rate: Double(workers.count) * flops / time / 1e9, checksum: operands[0].checksum)
    }
    return [own, each]
  }

  private struct Operands: Sendable {
    private let a: Matrix
    private let b: Matrix
    private let c: Matrix

    init(_ size: Int, seed: UInt64) {
      (a, b) = (filled(size, size, seed: 2 * seed), filled(size, size, seed: 2 * seed + 1))
      c = Matrix(rows: size, columns: size)
    }

    func multiply() { wholeProduct(a, b, into: c) }

    var checksum: Checksum { sample(c) }
  }
}

/// Numbers evenly in -0.1 ..< 0.1, a function of the seed.
func filled(_ rows: Int, _ columns: Int, seed: UInt64, isSpaced: Bool = false) -> Matrix {
  let matrix =
    isSpaced
    ? Matrix(spacedRows: rows, columns: columns) : Matrix(rows: rows, columns: columns)
  UniformFill(seed: seed, block: .expert(layer: 0, 0), bound: 0.1).fill(matrix, first: 0)
  return matrix
}

/// Of at most 64 rows.
func sample(_ matrix: Matrix) -> Checksum {
  var checksum = Checksum()
  checksum.add(matrix.rows(0..<min(64, matrix.rows)))
  return checksum
}

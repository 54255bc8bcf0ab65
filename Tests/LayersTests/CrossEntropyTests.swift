import Glibc
import Kernels
import Layers
import TestSupport
import Testing

@Suite struct CrossEntropyTests {
  static let targets: [Int32] = [4, 0, 10, 4, 7]

  /// Five rows, tiles of two: full tiles and a short one.
  private func head(_ smoothing: Float) -> CrossEntropy {
    CrossEntropy(vocabulary: 11, smoothing: smoothing, rowsPerTile: 2)
  }
  let x = testMatrix(5, 6, seed: 1, padding: 1)
  let table = testMatrix(11, 6, seed: 2)

  @Test(arguments: [0, 0.1] as [Float]) func equalsTheFormula(smoothing: Float) {
    var rows: [Float] = []
    let total = head(smoothing).forward(x, targets: Self.targets, embedding: table, on: .inline) {
      row, loss, _ in
      #expect(row == rows.count)
      rows.append(loss)
    }
    let logits = Reference.matmul(x, table, transposeB: true)
    var (loss, likelihood) = (0.0, 0.0)
    for i in 0..<5 {
      let row = logits[11 * i..<11 * (i + 1)]
      let logSum = log(row.reduce(0) { $0 + exp($1) })
      let nll = logSum - row[11 * i + Int(Self.targets[i])]
      let mean = row.reduce(0) { $0 + logSum - $1 } / 11
      let expected = (1 - Double(smoothing)) * nll + Double(smoothing) * mean
      #expect(abs(Double(rows[i]) - expected) < 2e-6)
      (loss, likelihood) = (loss + expected, likelihood + nll)
    }
    #expect(abs(total.loss - loss) < 1e-5)
    #expect(abs(total.negativeLogLikelihood - likelihood) < 1e-5)
  }

  @Test(arguments: [0, 0.1] as [Float]) func gradientsEqualFiniteDifferences(smoothing: Float) {
    let head = head(smoothing)
    let (dx, dtable) = (testMatrix(5, 6, seed: 3), Matrix(rows: 11, columns: 6))
    let total = head.forwardBackward(
      x, targets: Self.targets, embedding: table, scale: 0.2, dx: dx, dembedding: dtable,
      on: .inline)
    func loss() -> Double {
      head.forward(x, targets: Self.targets, embedding: table, on: .inline).loss * 0.2
    }
    #expect(total == head.forward(x, targets: Self.targets, embedding: table, on: .inline))
    expectGradient(dx, of: loss, withRespectTo: x, "dx")
    expectGradient(dtable, of: loss, withRespectTo: table, "dtable")
  }

  /// Goal: rows without a target are as if they were not there, also where they fill a tile; the
  /// head scales its logits, and may have a matrix of its own. Tolerance: as above.
  @Test func ignoresRowsAndScalesLogits() {
    let targets = [4, 0, 10, 4, 7].enumerated().map {
      [1, 2, 3].contains($0.offset) ? CrossEntropy.ignored : $0.element
    }
    let head = CrossEntropy(vocabulary: 11, smoothing: 0.1, outputScale: 0.3, rowsPerTile: 2)
    let scaled = testMatrix(11, 6, seed: 2)
    scale(scaled, by: 0.3, on: .inline)
    let kept = Matrix(rows: 2, columns: 6)
    gatherRows(x, [0, 4], into: kept, on: .inline)
    let expected = self.head(0.1).forward(kept, targets: [4, 7], embedding: scaled, on: .inline)
    var rows: [Float] = []
    let total = head.forward(x, targets: targets, embedding: table, on: .inline) { _, loss, _ in
      rows.append(loss)
    }
    #expect(total.rows == 2)
    #expect(abs(total.loss - expected.loss) < 1e-5)
    #expect(abs(total.negativeLogLikelihood - expected.negativeLogLikelihood) < 1e-5)
    #expect(rows.map { $0 == 0 } == [false, true, true, true, false])

    let (dx, dtable) = (testMatrix(5, 6, seed: 3), Matrix(rows: 11, columns: 6))
    let trained = head.forwardBackward(
      x, targets: targets, embedding: table, scale: 0.5, dx: dx, dembedding: dtable, on: .inline)
    func loss() -> Double {
      head.forward(x, targets: targets, embedding: table, on: .inline).loss * 0.5
    }
    #expect(trained == total)
    #expect(dx.rows(1..<4).values.allSatisfy { $0 == 0 })
    expectGradient(dx, of: loss, withRespectTo: x, "dx")
    expectGradient(dtable, of: loss, withRespectTo: table, "dtable")
  }

  /// Goal: every row's logits, in the order of the rows, over several tiles and on any workers.
  @Test(arguments: [1, 3]) func mapsTheLogitsOfEveryRow(_ threads: Int) {
    let expected = Reference.matmul(x, table, transposeB: true)
    let head = CrossEntropy(vocabulary: 11, smoothing: 0, outputScale: 0.5, rowsPerTile: 2)
    let found = head.map(x, embedding: table, on: Workers(count: threads)) { row, logits in
      defer { logits.fill(0) }
      return (row: row, logits: logits.values)
    }
    #expect(found.map(\.row) == Array(0..<5))
    for (value, wanted) in zip(found.flatMap(\.logits), expected) {
      #expect(abs(value - 0.5 * Float(wanted)) < 1e-6)
    }
  }

  @Test func sameBitsForAnyNumberOfWorkers() {
    let (x, table) = (testMatrix(70, 40, seed: 4), testMatrix(300, 40, seed: 5))
    let targets = (0..<70).map { Int32($0 * 4) }
    let head = CrossEntropy(vocabulary: 300, smoothing: 0.1, rowsPerTile: 32)
    let results = [1, 2, 3].map { threads in
      let (dx, dtable) = (Matrix(rows: 70, columns: 40), Matrix(rows: 300, columns: 40))
      let total = head.forwardBackward(
        x, targets: targets, embedding: table, scale: 1, dx: dx, dembedding: dtable,
        on: Workers(count: threads))
      return (bits(dx) + bits(dtable), total)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])
  }
}

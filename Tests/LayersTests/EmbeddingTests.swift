import Glibc
import Kernels
import Layers
import TestSupport
import Testing

@Suite struct EmbeddingTests {
  let embedding = Embedding(width: 6, positionsMax: 10)
  let table = testMatrix(5, 6, seed: 1)
  let tokens: [Int32] = [3, 0, 3, 4, 1, 3]
  let sequences = [0..<2, 2..<6]

  /// The formula: sine then cosine of (2 + position) * 10000^(-i / 2), positions restarting.
  @Test func equalsTheFormula() {
    let x = Matrix(rows: 6, columns: 6)
    embedding.forward(tokens, table: table, sequences: sequences, into: x, on: .inline)
    for (row, position) in [0, 1, 0, 1, 2, 3].enumerated() {
      for j in 0..<6 {
        let angle = Double(position + 2) * pow(10_000, -Double(j % 3) / 2)
        let wave = j < 3 ? sin(angle) : cos(angle)
        let expected = Double(table[Int(tokens[row]), j]) * 6.0.squareRoot() + wave
        #expect(abs(Double(x[row, j]) - expected) < 1e-6)
      }
    }
  }

  /// Goal: without positions, rows of the table times the scale; exactly the rows for a scale of 1.
  @Test func withoutPositions() {
    let (plain, scaled) = (Matrix(rows: 6, columns: 6), Matrix(rows: 6, columns: 6))
    Embedding(width: 6).forward(
      tokens, table: table, sequences: sequences, starts: [1000, 0], into: plain, on: .inline)
    let embedding = Embedding(width: 6, scale: 0.25)
    embedding.forward(tokens, table: table, sequences: sequences, into: scaled, on: .inline)
    for (row, token) in tokens.enumerated() {
      let expected = table.rows(Int(token)..<Int(token) + 1)
      #expect(bits(plain.rows(row..<row + 1)) == bits(expected))
      #expect(scaled.rows(row..<row + 1).values == expected.values.map { 0.25 * $0 })
    }
    let (dx, dtable) = (testMatrix(6, 6, seed: 2), Matrix(rows: 5, columns: 6))
    embedding.backward(tokens, dx: dx, dtable: dtable, on: .inline)
    func loss() -> Double {
      embedding.forward(tokens, table: table, sequences: sequences, into: scaled, on: .inline)
      return inner(scaled, dx)
    }
    expectGradient(dtable, of: loss, withRespectTo: table, "dtable")
  }

  /// Goal: the row of a token that is not trained stays without a gradient, the others' are as ever.
  @Test func anUntrainedTokenHasNoGradient() {
    let (all, some) = (Matrix(rows: 5, columns: 6), Matrix(rows: 5, columns: 6))
    embedding.backward(tokens, dx: testMatrix(6, 6, seed: 2), dtable: all, on: .inline)
    embedding.backward(
      tokens, dx: testMatrix(6, 6, seed: 2), dtable: some, untrained: 3, on: .inline)
    #expect(some.rows(3..<4).values.allSatisfy { $0 == 0 })
    #expect(all.rows(3..<4).values.allSatisfy { $0 != 0 })
    for row in [0, 1, 2, 4] {
      #expect(bits(some.rows(row..<row + 1)) == bits(all.rows(row..<row + 1)))
    }
  }

  /// Goal: decoding step by step sees the rows of the whole sequence, bit for bit.
  @Test func startContinuesASequence() {
    let (whole, step) = (Matrix(rows: 6, columns: 6), Matrix(rows: 1, columns: 6))
    embedding.forward(tokens, table: table, sequences: [0..<6], into: whole, on: .inline)
    for position in 0..<6 {
      embedding.forward(
        [tokens[position]], table: table, sequences: [0..<1], starts: [position], into: step,
        on: .inline)
      #expect(bits(step) == bits(whole.rows(position..<position + 1)))
    }
  }

  @Test func gradientEqualsFiniteDifferences() {
    let (x, dx) = (Matrix(rows: 6, columns: 6), testMatrix(6, 6, seed: 2))
    let dtable = Matrix(rows: 5, columns: 6)
    func loss() -> Double {
      embedding.forward(tokens, table: table, sequences: sequences, into: x, on: .inline)
      return inner(x, dx)
    }
    embedding.backward(tokens, dx: dx, dtable: dtable, on: .inline)
    expectGradient(dtable, of: loss, withRespectTo: table, "dtable")
    #expect(dtable.rows(2..<3).values.allSatisfy { $0 == 0 })
  }
}

import Glibc
import Kernels
import Layers
import TestSupport
import Testing

@Suite struct RotaryEmbeddingTests {
  let rotary = RotaryEmbedding(
    headWidth: 6, positionsMax: 10, RotaryPositions(base: 10_000))
  let sequences = [0..<2, 3..<9]

  /// The formula x cos + rotate_half(x) sin, rotate_half(x) = (-second half, first half); positions
  /// restart, and row 2, of no sequence, stays. Tolerance: a few roundings of values below 2.
  @Test(arguments: [0, 3]) func equalsTheFormula(start: Int) {
    let x = testMatrix(9, 18, seed: 1, padding: 2)
    let before = x.values
    rotary.forward(x, sequences: sequences, starts: [start, 2], on: .inline)
    for (row, position) in [0, 1, nil, 0, 1, 2, 3, 4, 5].enumerated() {
      for column in 0..<18 {
        let j = column % 6
        let value = Double(before[18 * row + column])
        guard let position else {
          #expect(x[row, column] == before[18 * row + column])
          continue
        }
        let other = before[18 * row + (j < 3 ? column + 3 : column - 3)]
        let angle = Double(position + (row < 2 ? start : 2)) * pow(10_000, -Double(2 * (j % 3)) / 6)
        let expected = value * cos(angle) + Double(j < 3 ? -other : other) * sin(angle)
        #expect(abs(Double(x[row, column]) - expected) < 3e-7)
      }
    }
  }

  /// Goal: a query at m and a key at n meet at m - n only. Tolerance: six products below 1.
  @Test func productsDependOnTheDistance() {
    func product(_ m: Int, _ n: Int) -> Float {
      let (q, k) = (testMatrix(1, 6, seed: 2), testMatrix(1, 6, seed: 3))
      rotary.forward(q, sequences: [0..<1], starts: [m], on: .inline)
      rotary.forward(k, sequences: [0..<1], starts: [n], on: .inline)
      return dot(q.row(0), k.row(0))
    }
    #expect(abs(product(5, 3) - product(9, 7)) < 1e-6)
    #expect(abs(product(5, 3) - product(5, 4)) > 1e-3)
  }

  /// Goal: decoding step by step sees the rows of the whole sequence, bit for bit.
  @Test func startContinuesASequence() {
    let (whole, step) = (testMatrix(6, 12, seed: 4), Matrix(rows: 1, columns: 12))
    let before = testMatrix(6, 12, seed: 4)
    rotary.forward(whole, sequences: [0..<6], on: .inline)
    for position in 0..<6 {
      step.copy(from: before.rows(position..<position + 1))
      rotary.forward(step, sequences: [0..<1], starts: [position], on: .inline)
      #expect(bits(step) == bits(whole.rows(position..<position + 1)))
    }
  }

  @Test func gradientEqualsFiniteDifferences() {
    let (x, y, dy) = (
      testMatrix(9, 12, seed: 5), Matrix(rows: 9, columns: 12), testMatrix(9, 12, seed: 6)
    )
    func loss() -> Double {
      y.copy(from: x)
      rotary.forward(y, sequences: sequences, starts: [1, 3], on: .inline)
      return inner(y, dy)
    }
    let dx = Matrix(rows: 9, columns: 12)
    dx.copy(from: dy)
    rotary.backward(dx, sequences: sequences, starts: [1, 3], on: .inline)
    expectGradient(dx, of: loss, withRespectTo: x, "dx")
  }

  @Test func sameBitsForAnyNumberOfWorkers() {
    let results = [1, 2, 3].map { threads in
      let rotary = RotaryEmbedding(headWidth: 8, positionsMax: 90, RotaryPositions(base: 1e6))
      let (x, workers) = (testMatrix(150, 24, seed: 7), Workers(count: threads))
      rotary.forward(x, sequences: [0..<90, 90..<150], on: workers)
      let turned = bits(x)
      rotary.backward(x, sequences: [0..<90, 90..<150], on: workers)
      return turned + bits(x)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])
  }
}

import Kernels
import Layers
import TestSupport
import Testing

@Suite struct RoutingTests {
  private func routing(_ choice: [Int32], _ kept: [Bool], _ probability: [Float]) -> Routing {
    Routing(
      choice: choice, kept: kept, probability: probability,
      probabilities: Matrix(rows: choice.count, columns: 4),
      counts: (0..<4).map { expert in choice.count { $0 == Int32(expert) } }, auxiliaryLoss: 1)
  }

  /// Goal: experts ascending, then micro-batches, then tokens; dropped tokens nowhere.
  @Test func rowsAreExpertMajor() {
    let rows = ExpertRows(
      [
        routing([2, 0, 2], [true, true, false], [0.1, 0.2, 0.3]),
        routing([], [], []),
        routing([3, 2, 0, 0], [true, true, true, false], [0.4, 0.5, 0.6, 0.7]),
      ], experts: 4)
    #expect(rows.offsets == [0, 2, 2, 4, 5])
    #expect(rows.microBatches == [0, 2, 0, 2, 2])
    #expect(rows.choices == [1, 2, 0, 1, 0])
    #expect(rows.rows == [1, 5, 0, 4, 3])
    #expect(rows.probabilities == [0.2, 0.6, 0.1, 0.5, 0.4])
    #expect(rows.touchedExperts == [0, 2, 3])
    #expect(rows.entries(of: 2) == 2..<4)
    #expect((rows.count, rows.expertCount) == (5, 4))
  }

  /// Goal: with two choices a token's row occurs at each of its experts, with each one's weight.
  @Test func everyChoiceIsAnEntry() {
    let rows = ExpertRows(
      [
        Routing(
          choicesPerToken: 2, choice: [1, 0, 3, 1, -1, -1],
          kept: [true, true, false, true, false, false],
          probability: [0.7, 0.3, 0.6, 0.4, 0, 0], probabilities: Matrix(rows: 3, columns: 4),
          counts: [1, 2, 0, 1], auxiliaryLoss: 1)
      ], experts: 4)
    #expect(rows.offsets == [0, 1, 3, 3, 3])
    #expect(rows.rows == [0, 0, 1])
    #expect(rows.choices == [1, 0, 3])
    #expect(rows.probabilities == [0.3, 0.7, 0.4])
  }

  /// Goal: gather, compute, weigh and scatter equals a slow loop over tokens; a dropped token's
  /// output row is exactly 0.
  @Test func dispatchEqualsASlowLoop() {
    let (x, y) = (testMatrix(30, 8, seed: 1), Matrix(rows: 30, columns: 8))
    let gate = Gate(
      experts: 4, width: 8, tokensMax: 30, capacityFactor: 0.5, capacityMinimum: 1, seed: 3)
    let routing = gate.forward(
      x, weight: testMatrix(4, 8, seed: 2), key: GateKey(step: 0, layer: 0, microBatch: 0),
      isTraining: true, probabilities: Matrix(rows: 30, columns: 4), on: .inline)
    let rows = ExpertRows([routing], experts: 4)
    for expert in rows.touchedExperts {
      let entries = rows.entries(of: expert)
      let indices = Array(rows.rows[entries])
      let gathered = Matrix(rows: entries.count, columns: 8)
      gatherRows(x, indices, into: gathered, on: .inline)
      scale(gathered, by: Float(expert + 1), on: .inline)
      scaleRows(gathered, by: Array(rows.probabilities[entries]), on: .inline)
      scatterAddRows(gathered, indices, to: y, on: .inline)
    }
    #expect(routing.kept.contains(false))
    for token in 0..<30 {
      for j in 0..<8 {
        let factor = Float(routing.choice[token] + 1)
        let expected = x[token, j] * factor * routing.probability[token]
        #expect(y[token, j] == (routing.kept[token] ? expected : 0))
      }
    }
  }
}

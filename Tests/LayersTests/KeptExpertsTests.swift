import Base
import Kernels
import Layers
import TestSupport
import Testing

/// Gates of layers that lost experts.
@Suite struct KeptExpertsTests {
  private static let key = GateKey(step: 3, layer: 1, microBatch: 2)
  private static let tokens = 40
  private let logits = testMatrix(40, 8, seed: 41)

  private func copy() -> Matrix {
    let logits = Matrix(rows: Self.tokens, columns: 8)
    logits.copy(from: self.logits)
    return logits
  }

  private func topOne(_ kept: KeptExperts?, _ logits: Matrix) -> Routing {
    gate(experts: 8).route(logits: logits, key: Self.key, kept: kept, on: .inline)
  }
  private func gate(experts: Int) -> Gate {
    Gate(
      experts: experts, width: 5, tokensMax: Self.tokens, capacityFactor: 0.8, capacityMinimum: 1,
      seed: 1)
  }
  private func topTwo(_ kept: KeptExperts?, _ logits: Matrix) -> Routing {
    TopKGate(
      experts: 8, k: 2, width: 5, tokensMax: Self.tokens, combine: .shareOfKept,
      priority: .random, laterChoices: .drawn, seed: 3
    ).route(
      logits: logits, key: Self.key, capacity: .factor(0.8, minimum: 1),
      sequences: [0..<Self.tokens], kept: kept)
  }

  /// Nothing is changed where all are kept.
  @Test(arguments: KeptExperts.Probabilities.allCases)
  func allExpertsAreAsNone(_ probabilities: KeptExperts.Probabilities) {
    let all = KeptExperts(0..<8, of: 8, probabilities)
    for route in [topOne, topTwo] {
      let (whole, kept) = (route(nil, copy()), route(all, copy()))
      #expect(whole.choice == kept.choice && whole.kept == kept.kept)
      #expect(whole.probability == kept.probability)
      #expect(whole.probabilities.values == kept.probabilities.values)
      #expect(whole.auxiliaryLoss == kept.auxiliaryLoss)
    }
  }

  /// A gate without the rows of the others, whose experts have other numbers: same choices, weights,
  /// places and balance loss. Tolerance: sums in another order.
  @Test func prunedGatesAreGatesWithFewerRows() {
    let kept = [1, 4, 5, 6]
    let few = Matrix(rows: Self.tokens, columns: 4)
    for token in 0..<Self.tokens {
      for (column, expert) in kept.enumerated() { few[token, column] = logits[token, expert] }
    }
    let pruned = topOne(KeptExperts(kept, of: 8, .kept), copy())
    let small = gate(experts: 4).route(logits: few, key: Self.key, on: .inline)
    #expect(pruned.choice == small.choice.map { Int32(kept[Int($0)]) })
    #expect(pruned.kept == small.kept && pruned.capacity == small.capacity)
    #expect(zip(pruned.probability, small.probability).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(abs(pruned.auxiliaryLoss - small.auxiliaryLoss) < 1e-6)
    #expect(kept.map { pruned.counts[$0] } == small.counts)
  }

  /// Second choices, drawn ones too, are of the kept experts.
  @Test(arguments: KeptExperts.Probabilities.allCases)
  func twoAreChosenOfThoseThatAreThere(_ probabilities: KeptExperts.Probabilities) {
    let routing = topTwo(KeptExperts([2, 7], of: 8, probabilities), copy())
    for token in 0..<Self.tokens {
      #expect(Set(routing.choice[2 * token..<2 * token + 2]) == [2, 7])
    }
  }

  /// Where probabilities are of all experts, who chose kept ones before fares as before, to the bit.
  @Test func extractedGatesChooseAsBefore() {
    let whole = TopKGate(
      experts: 8, k: 2, width: 5, tokensMax: Self.tokens, combine: .shareOfChoices)
    func route(_ kept: KeptExperts?) -> Routing {
      whole.route(logits: copy(), capacity: .unlimited, sequences: [0..<Self.tokens], kept: kept)
    }
    let before = route(nil)
    let set = KeptExperts(Set(before.choice[..<2].map(Int.init)), of: 8, .all)
    let after = route(set)
    #expect(after.choice[..<2] == before.choice[..<2])
    #expect(after.probability[..<2] == before.probability[..<2])
    #expect(after.probabilities.values == before.probabilities.values)
  }
}

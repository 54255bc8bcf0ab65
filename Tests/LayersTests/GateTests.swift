import Base
import Glibc
import Kernels
import Layers
import TestSupport
import Testing

@Suite struct GateTests {
  static let key = GateKey(step: 3, layer: 1, microBatch: 2)

  /// Eight tokens, four experts: the logits of a worked example whose numbers were computed with
  /// NumPy in float64.
  private func example() -> Matrix {
    let logits = Matrix(rows: 8, columns: 4)
    for s in 0..<8 {
      for e in 0..<4 { logits[s, e] = Float(2 * sin(0.7 * Double(4 * s + e) + 0.3)) }
    }
    return logits
  }

  private func gate(
    experts: Int = 4, factor: Double? = 1, minimum: Int = 0, selection: TokenSelection = .random,
    jitter: Float = 0, seed: UInt64 = 1, tokens: Int = 64, width: Int = 6
  ) -> Gate {
    Gate(
      experts: experts, width: width, tokensMax: tokens, capacityFactor: factor,
      capacityMinimum: minimum, selection: selection, jitter: jitter, seed: seed)
  }

  /// Tolerance: the worked example has six decimals.
  @Test func workedExample() {
    let routing = gate(selection: .first).route(logits: example(), key: Self.key, on: .inline)
    #expect(routing.choice == [2, 0, 3, 0, 3, 0, 3, 1])
    #expect(routing.counts == [3, 1, 1, 3])
    #expect(abs(routing.auxiliaryLoss - 1.096035) < 1e-6)
    #expect(routing.capacity == 2)
    #expect(routing.kept.indices.filter { routing.kept[$0] } == [0, 1, 2, 3, 4, 7])
    let weights: [Float] = [0.396770, 0.641787, 0.480619, 0.718158, 0.683038, 0.411535]
    let kept = zip(routing.probability, routing.kept).filter(\.1).map(\.0)
    #expect(zip(kept, weights).allSatisfy { abs($0 - $1) < 1e-6 })
  }

  /// Goal: three candidates for two places are kept two times in three, at every position; tokens
  /// with room are always kept. Tolerance: 3 standard errors of 6000 draws.
  @Test func workedExampleWithRandomSelection() {
    let draws = 6000
    var keptCount = Array(repeating: 0, count: 8)
    for step in 0..<draws {
      let routing = gate().route(
        logits: example(), key: GateKey(step: step, layer: 0, microBatch: 0), on: .inline)
      for token in 0..<8 where routing.kept[token] { keptCount[token] += 1 }
    }
    let deviation = (Double(draws) * 2 / 9).squareRoot()
    for token in 0..<8 {
      guard ![0, 7].contains(token) else {
        #expect(keptCount[token] == draws)
        continue
      }
      #expect(abs(Double(keptCount[token]) - Double(draws) * 2 / 3) < 3 * deviation)
    }
  }

  /// Goal: with 40 tokens of one expert and 10 places each position is kept one time in four.
  /// Tolerance: three standard errors, over so many seeds.
  @Test func everyPositionHasTheSameChance() {
    let (draws, tokens, places) = (10_000, 40, 10)
    var keptCount = Array(repeating: 0, count: tokens)
    for seed in 0..<draws {
      let gate = gate(experts: 2, factor: 0.5, seed: UInt64(seed))
      let routing = gate.route(
        logits: Matrix(rows: tokens, columns: 2), key: Self.key, on: .inline)
      #expect(routing.keptCount == places)
      for token in 0..<tokens where routing.kept[token] { keptCount[token] += 1 }
    }
    let deviation = (Double(draws) * 0.25 * 0.75).squareRoot()
    #expect(keptCount.allSatisfy { abs(Double($0) - Double(draws) / 4) < 3 * deviation })
  }

  /// The surest keep their places: of the tokens of experts 0 and 3 those whose choice is less likely
  /// than two others' go.
  @Test func theSurestAreKept() {
    let routing = gate(selection: .priority).route(logits: example(), key: Self.key, on: .inline)
    for expert in [0, 3] {
      let candidates = routing.choice.indices.filter { routing.choice[$0] == Int32(expert) }
      let least = candidates.min { routing.probability[$0] < routing.probability[$1] }
      #expect(candidates.filter { !routing.kept[$0] } == [least])
    }
  }

  @Test func theSameKeyGivesTheSameSetAndOthersDoNot() {
    func kept(_ key: GateKey, seed: UInt64 = 5) -> [Bool] {
      gate(experts: 2, factor: 0.5, seed: seed).route(
        logits: Matrix(rows: 40, columns: 2), key: key, on: .inline
      ).kept
    }
    let first = kept(Self.key)
    #expect(kept(Self.key) == first)
    #expect(kept(GateKey(step: 4, layer: 1, microBatch: 2)) != first)
    #expect(kept(GateKey(step: 3, layer: 2, microBatch: 2)) != first)
    #expect(kept(GateKey(step: 3, layer: 1, microBatch: 3)) != first)
    #expect(kept(Self.key, seed: 6) != first)
  }

  @Test(arguments: [
    (8, 4, 1.0, 0, 2), (9, 4, 1.0, 0, 3), (8, 4, 1.0, 4, 4), (10, 4, 1.25, 0, 4), (0, 4, 1, 4, 4),
  ])
  func capacityIsTheFormula(
    tokens: Int, experts: Int, factor: Double, minimum: Int, expected: Int
  ) {
    let gate = gate(experts: experts, factor: factor, minimum: minimum)
    #expect(gate.capacity(tokens: tokens) == expected)
  }

  /// Over a grid whose products are exact: the formula in whole numbers, and no expert that takes more.
  @Test(arguments: [1, 7, 64, 100], [1, 3, 8])
  func noExpertTakesMoreThanItsCapacity(_ tokens: Int, _ experts: Int) {
    for eighths in [1, 4, 8, 10, 24] {
      for minimum in [0, 1, 4] {
        let gate = gate(experts: experts, factor: Double(eighths) / 8, minimum: minimum)
        let wanted = max((tokens * eighths + 8 * experts - 1) / (8 * experts), minimum)
        #expect(gate.capacity(tokens: tokens) == wanted)
        let stream = Philox(seed: 9, purpose: .test)
        let logits = Matrix(rows: tokens, columns: experts)
        logits.assign((0..<tokens * experts).map { stream.uniform(UInt32($0), 0, 0) })
        let routing = gate.route(logits: logits, key: Self.key, on: .inline)
        for expert in 0..<experts {
          let kept = routing.choice.indices.count {
            routing.choice[$0] == Int32(expert) && routing.kept[$0]
          }
          #expect(kept == min(wanted, routing.counts[expert]))
        }
      }
    }
  }

  @Test func withoutALimitNothingIsDropped() {
    let routing = gate(factor: nil).route(
      logits: Matrix(rows: 50, columns: 4), key: Self.key, on: .inline)
    #expect(routing.capacity == nil)
    #expect(routing.keptCount == 50)
  }

  /// Uniform logits: balanced probabilities, and the lowest expert wins every tie. Collapsed: E.
  @Test func auxiliaryLossAtItsEnds() {
    let uniform = gate().route(logits: Matrix(rows: 8, columns: 4), key: Self.key, on: .inline)
    #expect(uniform.choice == Array(repeating: 0, count: 8))
    #expect(abs(uniform.auxiliaryLoss - 1) < 1e-6)
    let logits = Matrix(rows: 8, columns: 4)
    logits.columns(2..<3).fill(40)
    let collapsed = gate().route(logits: logits, key: Self.key, on: .inline)
    #expect(abs(collapsed.auxiliaryLoss - 4) < 1e-6)
  }

  @Test func jitterIsForTrainingOnlyAndSmall() {
    let gate = gate(factor: nil, jitter: 0.01)
    let (x, weight) = (testMatrix(20, 6, seed: 1), testMatrix(4, 6, seed: 2))
    func probabilities(isTraining: Bool, step: Int) -> [Float] {
      let p = Matrix(rows: 20, columns: 4)
      _ = gate.forward(
        x, weight: weight, key: GateKey(step: step, layer: 0, microBatch: 0),
        isTraining: isTraining, probabilities: p, on: .inline)
      return p.values
    }
    let plain = probabilities(isTraining: false, step: 0)
    let jittered = probabilities(isTraining: true, step: 0)
    #expect(probabilities(isTraining: false, step: 1) == plain)
    #expect(probabilities(isTraining: true, step: 0) == jittered)
    #expect(probabilities(isTraining: true, step: 1) != jittered)
    #expect(jittered != plain)
    // |dlogit| <= 0.01 * 6, so a probability moves by at most 2 * 0.06 of itself.
    #expect(zip(plain, jittered).allSatisfy { abs($0 - $1) <= 0.13 * $0 })
  }
}

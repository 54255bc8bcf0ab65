import Kernels
import Layers
import TestSupport
import Testing

/// Gradients of the gate: of sum over kept tokens of r[s] p[s, choice] plus a multiple of the
/// balance loss. Choices and token shares are constants in it, so steps must not cross a tie:
/// checked.
@Suite struct GateBackwardTests {
  static let key = GateKey(step: 7, layer: 0, microBatch: 1)

  struct Problem {
    let gate: Gate
    let x = testMatrix(12, 5, seed: 21)
    let weight = testMatrix(3, 5, seed: 22)
    let r = testMatrix(12, 1, seed: 23)
    let auxiliaryScale: Float = 0.7
    let probabilities = Matrix(rows: 12, columns: 3)

    init(factor: Double?, jitter: Float) {
      gate = Gate(
        experts: 3, width: 5, tokensMax: 12, capacityFactor: factor, capacityMinimum: 1,
        jitter: jitter, seed: 9)
    }

    func forward() -> Routing {
      gate.forward(
        x, weight: weight, key: key, isTraining: true, probabilities: probabilities, on: .inline)
    }

    func backward(_ routing: Routing, dx: Matrix, dweight: Matrix, r: [Float]? = nil) {
      gate.backward(
        x, weight: weight, routing: routing, key: key, isTraining: true,
        dprobability: r ?? self.r.values, auxiliaryScale: auxiliaryScale,
        into: GateGradients(weight: dweight, x: dx),
        on: .inline)
    }

    func loss() -> Double {
      let routing = forward()
      var loss = Double(auxiliaryScale) * routing.auxiliaryLoss
      for token in 0..<12 where routing.kept[token] {
        loss += Double(r[token, 0]) * Double(routing.probability[token])
      }
      return loss
    }
  }

  @Test(arguments: [(nil, 0), (0.5, 0), (0.5, 0.1)] as [(Double?, Float)])
  func gradientsEqualFiniteDifferences(factor: Double?, jitter: Float) {
    let problem = Problem(factor: factor, jitter: jitter)
    let routing = problem.forward()
    #expect(narrowestMargin(problem) > 4 * 0x1p-7, "choose a seed without near ties")
    #expect((routing.keptCount < 12) == (factor != nil))
    let (dx, dweight) = (Matrix(rows: 12, columns: 5), Matrix(rows: 3, columns: 5))
    problem.backward(routing, dx: dx, dweight: dweight)
    expectGradient(dx, of: problem.loss, withRespectTo: problem.x, "dx")
    expectGradient(dweight, of: problem.loss, withRespectTo: problem.weight, "dweight")
  }

  /// Smallest difference between the best two logits of a token, from the ratio of probabilities.
  private func narrowestMargin(_ problem: Problem) -> Float {
    (0..<12).map { token in
      let sorted = (0..<3).map { problem.probabilities[token, $0] }.sorted()
      return sorted[2] / sorted[1] - 1
    }.min() ?? 0
  }

  /// Goal: a dropped token's upstream gradient does not matter, while the balance loss reaches it.
  @Test func droppedTokensFeelTheBalanceLossOnly() {
    let problem = Problem(factor: 0.5, jitter: 0)
    let routing = problem.forward()
    var r = problem.r.values
    let (dx, other) = (Matrix(rows: 12, columns: 5), Matrix(rows: 12, columns: 5))
    let dweight = Matrix(rows: 3, columns: 5)
    problem.backward(routing, dx: dx, dweight: dweight)
    for token in 0..<12 where !routing.kept[token] { r[token] = .nan }
    problem.backward(routing, dx: other, dweight: dweight, r: r)
    #expect(bits(dx) == bits(other))
    for token in 0..<12 where !routing.kept[token] {
      #expect(dx.rows(token..<token + 1).values.contains { $0 != 0 })
    }
  }

  @Test func gradientsAccumulate() {
    let problem = Problem(factor: nil, jitter: 0)
    let routing = problem.forward()
    let (dx, dweight) = (Matrix(rows: 12, columns: 5), Matrix(rows: 3, columns: 5))
    problem.backward(routing, dx: dx, dweight: dweight)
    let once = dx.values + dweight.values
    problem.backward(routing, dx: dx, dweight: dweight)
    #expect(zip(dx.values + dweight.values, once).allSatisfy { abs($0 - 2 * $1) < 1e-6 })
  }

  @Test func sameBitsForAnyNumberOfWorkers() {
    let gate = Gate(
      experts: 8, width: 70, tokensMax: 500, capacityFactor: 1, jitter: 0.01, seed: 2)
    let (x, weight) = (testMatrix(500, 70, seed: 1), testMatrix(8, 70, seed: 2))
    let results = [1, 2, 3].map { threads in
      let workers = Workers(count: threads)
      let (p, dx) = (Matrix(rows: 500, columns: 8), Matrix(rows: 500, columns: 70))
      let dweight = Matrix(rows: 8, columns: 70)
      let routing = gate.forward(
        x, weight: weight, key: Self.key, isTraining: true, probabilities: p, on: workers)
      gate.backward(
        x, weight: weight, routing: routing, key: Self.key, isTraining: true,
        dprobability: routing.probability, auxiliaryScale: 0.01,
        into: GateGradients(weight: dweight, x: dx),
        on: workers)
      return bits(p) + bits(dx) + bits(dweight) + routing.kept.map { $0 ? 1 : 0 }
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])
  }
}

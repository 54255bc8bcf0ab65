import Base
import Kernels
import Layers
import TestSupport
import Testing

/// Gates whose decisions many tokens share.
@Suite struct GateUnitsTests {
  private static let key = GateKey(step: 3, layer: 1, microBatch: 2)
  private let inputs = testMatrix(3, 37, seed: 31)
  private let weight = testMatrix(5, 37, seed: 32)
  private let gate = TopKGate(
    experts: 5, k: 2, width: 37, tokensMax: 12, combine: .shareOfKept, laterChoices: .drawn,
    jitter: 0.2, seed: 7)

  private func route(_ units: Matrix, _ ofToken: [Int], isTraining: Bool = true) -> Routing {
    let tokens = ofToken.count
    return gate.forward(
      Matrix(rows: tokens, columns: 37), weight: weight, bias: nil,
      units: GateUnits(
        inputs: units, dInputs: Matrix(rows: units.rows, columns: 37), ofToken: ofToken),
      key: Self.key, isTraining: isTraining, capacity: .unlimited, sequences: [0..<tokens],
      probabilities: Matrix(rows: tokens, columns: 5), on: .inline)
  }

  /// Nothing is left to chance, in training neither: neither jitter nor a drawn second expert.
  @Test func tokensOfAUnitAreRoutedAlike() {
    let routing = route(inputs, [0, 2, 1, 2, 0, 2])
    #expect(
      routing.probabilities.values
        == route(inputs, [0, 2, 1, 2, 0, 2], isTraining: false)
        .probabilities.values)
    for (a, b) in [(0, 4), (1, 3), (1, 5)] {
      #expect(routing.choice[2 * a..<2 * a + 2].elementsEqual(routing.choice[2 * b..<2 * b + 2]))
      #expect(routing.row(a) == routing.row(b))
    }
    #expect(routing.row(0) != routing.row(1))
  }

  /// The bits of a unit are its own: others may come, go and change places.
  @Test func unitsDoNotSeeEachOther() {
    let all = route(inputs, [0, 1, 2])
    let alone = route(inputs.rows(1..<2), [0])
    let turned = Matrix(rows: 3, columns: 37)
    for (to, from) in [2, 0, 1].enumerated() {
      turned.rows(to..<to + 1).copy(from: inputs.rows(from..<from + 1))
    }
    #expect(alone.row(0) == all.row(1))
    let others = route(turned, [0, 1, 2])
    #expect((0..<3).allSatisfy { others.row($0) == all.row([2, 0, 1][$0]) })
  }

  /// d of sum r w and of the balance loss, by the inputs of the units and the weight.
  @Test func gradientsEqualFiniteDifferences() {
    let ofToken = [0, 2, 1, 2, 0, 2, 1]
    let r = testMatrix(14, 1, seed: 33).values
    func losses(_ routing: Routing) -> RouterLoss {
      var losses = RouterLoss(experts: 5, groups: 1, share: .firstChoices)
      losses.add(routing, group: ofToken.map { _ in 0 })
      return losses
    }
    func loss() -> Double {
      let routing = route(inputs, ofToken)
      return zip(r, routing.probability).reduce(0.7 * losses(routing).balance) {
        $0 + Double($1.0) * Double($1.1)
      }
    }
    let routing = route(inputs, ofToken)
    let units = GateUnits(
      inputs: inputs, dInputs: Matrix(rows: 3, columns: 37), ofToken: ofToken)
    let (dweight, dx) = (Matrix(rows: 5, columns: 37), Matrix(rows: 7, columns: 37))
    gate.backward(
      Matrix(rows: 7, columns: 37), weight: weight, units: units, routing: routing, key: Self.key,
      isTraining: true, dcombine: r,
      losses: losses(routing).gradient(
        balanceScale: 0.7, zScale: 0, group: ofToken.map { _ in 0 }),
      into: GateGradients(weight: dweight, x: dx), on: .inline)
    expectGradient(units.dInputs, of: loss, withRespectTo: inputs, "dinputs")
    expectGradient(dweight, of: loss, withRespectTo: weight, "dweight")
    #expect(dx.values.allSatisfy { $0 == 0 }, "the tokens themselves decided nothing")
  }
}

extension Routing {
  fileprivate func row(_ token: Int) -> [Float] { probabilities.rows(token..<token + 1).values }
}

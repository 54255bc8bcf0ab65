import Glibc
import Kernels
import Layers
import TestSupport
import Testing

@Suite struct TopKGateTests {
  static let key = GateKey(step: 3, layer: 1, microBatch: 2)

  private func gate(k: Int, _ combine: TopKGate.Combine, experts: Int = 4) -> TopKGate {
    TopKGate(experts: experts, k: k, width: 5, tokensMax: 12, combine: combine)
  }

  private func logits(_ rows: [[Float]]) -> Matrix {
    let logits = Matrix(rows: rows.count, columns: rows[0].count)
    for (i, row) in rows.enumerated() { for (j, x) in row.enumerated() { logits[i, j] = x } }
    return logits
  }

  /// Softmax of (log 1, log 2, log 3, log 4) is (0.1, 0.2, 0.3, 0.4).
  private let tenths: [Float] = [log(1), log(2), log(3), log(4)]

  static let weights: [(TopKGate.Combine, [Double])] = [
    (.probability, [0.4, 0.3]), (.shareOfChoices, [0.4 / 0.7, 0.3 / 0.7]),
    (.shareOfKept, [0.4 / 0.7, 0.3 / 0.7]),
  ]

  @Test(arguments: weights) func choicesAreWeighed(
    _ combine: TopKGate.Combine, _ expected: [Double]
  ) {
    let routing = gate(k: 2, combine).route(
      logits: logits([tenths]), capacity: .unlimited, sequences: [0..<1])
    #expect(routing.choice == [3, 2])
    #expect(zip(routing.probability, expected).allSatisfy { abs(Double($0) - $1) < 1e-6 })
    #expect(routing.counts == [0, 0, 1, 1])
    #expect(abs(routing.logSumExp[0] - log(10)) < 1e-6)
  }

  /// Equal logits: the lower expert comes first, each expert once.
  @Test func equalsAreChosenInOrder() {
    let routing = gate(k: 3, .probability).route(
      logits: logits([[1, 1, 1, 1], [0, 2, 0, 2]]), capacity: .unlimited, sequences: [0..<2])
    #expect(routing.choice == [0, 1, 2, 1, 3, 0])
  }

  /// Each sequence has places of its own, given in the order of its tokens.
  @Test func sequencesHaveTheirOwnPlaces() {
    let same = Array(repeating: tenths, count: 5)
    let routing = gate(k: 1, .probability).route(
      logits: logits(same), capacity: .perSequence(2), sequences: [0..<3, 3..<5])
    #expect(routing.kept == [true, true, false, true, true])
    #expect(routing.counts == [0, 0, 0, 5])
  }

  /// Second choices queue behind all first choices of the expert, those without a place included,
  /// and what is left has the whole weight.
  @Test func secondChoicesComeAfterAllFirstOnes() {
    let other: [Float] = [log(1), log(2), log(4), log(3)]
    let routing = gate(k: 2, .shareOfKept).route(
      logits: logits([tenths, other, tenths]), capacity: .perMicroBatch(2), sequences: [0..<3])
    #expect(routing.choice == [3, 2, 2, 3, 3, 2])
    // Expert 3: tokens 0 and 2 first, 1 second. Expert 2: token 1 first, then 0, then 2.
    #expect(routing.kept == [true, true, true, false, true, false])
    let weights = zip(routing.probability, routing.kept).filter(\.1).map(\.0)
    let expected = [4.0 / 7, 3.0 / 7, 1, 1]
    #expect(zip(weights, expected).allSatisfy { abs(Double($0) - $1) < 1e-6 })
  }

  @Test func paddingGoesNowhere() {
    let routing = gate(k: 2, .shareOfKept).route(
      logits: logits([tenths, tenths]), capacity: .perMicroBatch(1), sequences: [0..<2],
      isRouted: [false, true])
    #expect(routing.choice == [-1, -1, 3, 2])
    #expect(routing.kept == [false, false, true, true])
    #expect(ExpertRows([routing], experts: 4).rows == [1, 1])
  }

  /// ceil(share * tokens), and so many times the mean rounded up.
  @Test(arguments: [
    (TopKGate.Capacity.shareOfMicroBatch(0.3), 2), (.shareOfMicroBatch(1), 5),
    (.timesMean(1), 2), (.timesMean(2), 4),
  ])
  func capacitiesFollowTheMicroBatch(_ capacity: TopKGate.Capacity, _ places: Int) {
    let routing = gate(k: 1, .probability).route(
      logits: logits(Array(repeating: tenths, count: 5)), capacity: capacity, sequences: [0..<5])
    #expect(routing.keptCount == places)
  }

  /// The surest token comes first, whatever its place; second choices still queue behind.
  @Test(arguments: [TopKGate.Capacity.perMicroBatch(2), .perSequence(2)])
  func theLikeliestFindRoomFirst(_ capacity: TopKGate.Capacity) {
    let sure: [Float] = [log(1), log(1), log(1), log(7)]
    let other: [Float] = [log(1), log(2), log(4), log(3)]
    let gate = TopKGate(
      experts: 4, k: 2, width: 5, tokensMax: 12, combine: .shareOfKept, priority: .likeliest)
    let routing = gate.route(
      logits: logits([tenths, tenths, sure, other]), capacity: capacity, sequences: [0..<4])
    #expect(routing.choice == [3, 2, 3, 2, 3, 0, 2, 3])
    // Expert 3: token 2, then 0, 1 and, second, 3. Expert 2: token 3 first, then 0, then 1.
    #expect(routing.kept == [true, true, false, false, true, true, true, false])
  }

  /// ceil(k * tokens * factor / experts), at least the minimum.
  @Test(arguments: [(1.0, 0, 2), (1.2, 0, 3), (0.1, 2, 2), (0.4, 0, 1)])
  func capacitiesFollowAFactor(_ factor: Double, _ minimum: Int, _ places: Int) {
    let routing = gate(k: 2, .shareOfKept).route(
      logits: logits(Array(repeating: tenths, count: 4)),
      capacity: .factor(factor, minimum: minimum), sequences: [0..<4])
    #expect(routing.kept.count { $0 } == 2 * places)
  }

  /// Random token selection: eight tokens want the same two experts with two places each; every token
  /// has the same chance, of a place at both or at none. Tolerance: four standard errors.
  @Test func everyPositionHasTheSameChance() {
    let gate = TopKGate(
      experts: 4, k: 2, width: 5, tokensMax: 12, combine: .shareOfKept, priority: .random, seed: 3)
    let draws = 4000
    var keptCount = Array(repeating: 0, count: 8)
    for step in 0..<draws {
      let key = GateKey(step: step, layer: 0, microBatch: 0)
      let routing = gate.route(
        logits: logits(Array(repeating: tenths, count: 8)), key: key, draws: false,
        capacity: .perMicroBatch(2), sequences: [0..<8])
      for token in 0..<8 {
        #expect(routing.kept[2 * token] == routing.kept[2 * token + 1])
        if routing.kept[2 * token] { keptCount[token] += 1 }
      }
    }
    let deviation = (Double(draws) * 0.25 * 0.75).squareRoot()
    #expect(keptCount.reduce(0, +) == 2 * draws)
    #expect(keptCount.allSatisfy { abs(Double($0) - Double(draws) / 4) < 4 * deviation })
  }

  /// Eight tokens, four experts: the two likeliest of the first three, and the weights of the first,
  /// computed with NumPy in float64.
  @Test func workedExample() {
    let logits = Matrix(rows: 8, columns: 4)
    for s in 0..<8 {
      for e in 0..<4 { logits[s, e] = Float(2 * sin(0.7 * Double(4 * s + e) + 0.3)) }
    }
    let routing = gate(k: 2, .shareOfKept).route(
      logits: logits, capacity: .unlimited, sequences: [0..<8])
    #expect(Array(routing.choice[..<6]) == [2, 1, 0, 1, 3, 2])
    #expect(abs(routing.probability[0] - 0.574537) < 1e-6)
    #expect(abs(routing.probability[1] - 0.425463) < 1e-6)
    var losses = RouterLoss(experts: 4, groups: 1, share: .firstChoices)
    losses.add(routing, group: Array(repeating: 0, count: 8))
    #expect(abs(losses.balance - 1.096035) < 1e-6)
  }

  /// Second experts drawn by the probabilities of those that are left, 1, 2 and 3 of 6; the first
  /// is the likeliest. Tolerance: five deviations of 4000 draws.
  @Test func laterChoicesAreDrawn() {
    let gate = TopKGate(
      experts: 4, k: 2, width: 5, tokensMax: 4000, combine: .shareOfChoices, laterChoices: .drawn,
      seed: 5)
    func route(_ key: GateKey?) -> [Int32] {
      gate.route(
        logits: logits(Array(repeating: tenths, count: 4000)), key: key, capacity: .unlimited,
        sequences: [0..<4000]
      ).choice
    }
    let (choice, again) = (route(Self.key), route(Self.key))
    #expect(choice == again)
    #expect(choice != route(GateKey(step: 4, layer: 1, microBatch: 2)))
    #expect(route(nil).enumerated().allSatisfy { $1 == ($0 % 2 == 0 ? 3 : 2) })
    #expect(stride(from: 0, to: 8000, by: 2).allSatisfy { choice[$0] == 3 })
    for expert in 0..<3 {
      let share = Double(stride(from: 1, to: 8000, by: 2).count { choice[$0] == expert }) / 4000
      #expect(abs(share - Double(expert + 1) / 6) < 0.04, "\(expert): \(share)")
    }
  }

  /// Draws, room and weights together, against a plain reading of GShard's rules: first choices are the
  /// likeliest; all of them come before all second ones; what is left of a token's two has all of the weight.
  @Test(arguments: [0.4, 0.7, 1.0]) func drawsAndDropsFollowTheRules(_ factor: Double) {
    let (tokens, experts) = (120, 6)
    let gate = TopKGate(
      experts: experts, k: 2, width: 5, tokensMax: tokens, combine: .shareOfKept,
      laterChoices: .drawn, seed: 5)
    var rows: [[Float]] = []
    for i in 0..<tokens {
      rows.append((0..<experts).map { j -> Float in Float((i * 7 + j * j * 5) % 11) / 4 })
    }
    func route(_ capacity: TopKGate.Capacity) -> Routing {
      gate.route(
        logits: logits(rows), key: Self.key, capacity: capacity, sequences: [0..<tokens])
    }
    let choice = route(.unlimited).choice
    let places = Int((2 * Double(tokens) * factor / Double(experts)).rounded(.up))
    var (taken, kept) = (Array(repeating: 0, count: experts), [Bool](repeating: false, count: 240))
    for rank in 0..<2 {
      for token in 0..<tokens {
        let expert = Int(choice[2 * token + rank])
        kept[2 * token + rank] = taken[expert] < places
        taken[expert] += 1
      }
    }
    let found = route(.factor(factor, minimum: 0))
    #expect(found.choice == choice && found.kept == kept)
    #expect(factor == 1 || kept.contains(false))
    for token in 0..<tokens {
      let exponentials = rows[token].map { exp(Double($0)) }
      #expect(choice[2 * token] == Int32(rows[token].firstIndex(of: rows[token].max()!)!))
      let weights = (0..<2).map { rank in
        kept[2 * token + rank] ? exponentials[Int(choice[2 * token + rank])] : 0
      }
      let sum = max(weights[0] + weights[1], .leastNormalMagnitude)
      for rank in 0..<2 where kept[2 * token + rank] {
        #expect(abs(Double(found.probability[2 * token + rank]) - weights[rank] / sum) < 1e-6)
      }
    }
  }

  /// The second of probability 0.3 is taken with 0.6, and takes no room where it is not; with one
  /// choice left that has the whole weight.
  @Test func laterChoicesAreTakenByChance() {
    let gate = TopKGate(
      experts: 4, k: 2, width: 5, tokensMax: 4000, combine: .shareOfKept,
      laterChoices: .takenByChance, seed: 5)
    func route(_ capacity: TopKGate.Capacity, _ key: GateKey?) -> Routing {
      gate.route(
        logits: logits(Array(repeating: tenths, count: 4000)), key: key, capacity: capacity,
        sequences: [0..<4000])
    }
    let routing = route(.unlimited, Self.key)
    let taken = stride(from: 1, to: 8000, by: 2).filter { routing.kept[$0] }
    #expect(abs(Double(taken.count) / 4000 - 0.6) < 0.04)
    #expect(stride(from: 0, to: 8000, by: 2).allSatisfy { routing.kept[$0] })
    for token in 0..<4000 {
      let first = routing.probability[2 * token]
      #expect(abs(first - (routing.kept[2 * token + 1] ? 4.0 / 7 : 1)) < 1e-6)
    }
    #expect(route(.unlimited, nil).kept.allSatisfy { $0 })
    let scarce = route(.perMicroBatch(100), Self.key).kept
    #expect(stride(from: 1, to: 8000, by: 2).count { scarce[$0] } == 100)
    #expect(scarce.lastIndex(of: true) == taken[99])
  }

  // MARK: Gradients

  struct Case: Sendable {
    let combine: TopKGate.Combine
    let k: Int
    let capacity: TopKGate.Capacity
    let share: RouterLoss.Share
    var jitter: Float = 0
  }
  static let cases = [
    Case(combine: .probability, k: 1, capacity: .perSequence(2), share: .keptOrFirst, jitter: 0.1),
    Case(combine: .probability, k: 2, capacity: .unlimited, share: .choices),
    Case(combine: .shareOfChoices, k: 3, capacity: .unlimited, share: .choices),
    Case(combine: .shareOfChoices, k: 2, capacity: .perMicroBatch(4), share: .choices),
    Case(combine: .shareOfKept, k: 2, capacity: .perMicroBatch(4), share: .choices),
  ]

  /// The loss is sum over kept choices of r w, and both router losses over two layers that are the
  /// same, the first sequence alone and the last token not counted.
  struct Problem {
    let given: Case
    let gate: TopKGate
    let x = testMatrix(12, 5, seed: 21)
    let weight = Matrix(rows: 4, columns: 5)
    let bias = testMatrix(1, 4, seed: 24)
    let r: Matrix
    let probabilities = Matrix(rows: 12, columns: 4)
    let sequences = [0..<5, 5..<12]
    let groups = (0..<12).map { $0 < 5 ? 0 : 1 }
    let isCounted = (0..<12).map { $0 < 11 }

    init(_ given: Case) {
      self.given = given
      r = testMatrix(12 * given.k, 1, seed: 23)
      gate = TopKGate(
        experts: 4, k: given.k, width: 5, tokensMax: 12, combine: given.combine,
        jitter: given.jitter, seed: 9)
      // The first weights without near ties: a step must not change a choice.
      var seed: UInt64 = 27
      repeat {
        weight.copy(from: testMatrix(4, 5, seed: seed))
        scale(weight, by: 3, on: .inline)
        _ = forward()
        seed += 1
      } while narrowestMargin < 16 * 0x1p-7
    }

    /// Smallest ratio of probabilities, less 1, that decides a choice of a token or the order of two.
    private var narrowestMargin: Float {
      (0..<12).flatMap { token in
        let sorted = (0..<4).map { probabilities[token, $0] }.sorted(by: >)
        return (0..<given.k).map { sorted[$0] / sorted[$0 + 1] - 1 }
      }.min() ?? 0
    }

    func forward() -> (Routing, RouterLoss) {
      let routing = gate.forward(
        x, weight: weight, bias: bias, key: key, isTraining: true, capacity: given.capacity,
        sequences: sequences, probabilities: probabilities, on: .inline)
      var losses = RouterLoss(experts: 4, groups: 2, share: given.share)
      for _ in 0..<2 { losses.add(routing, group: groups, isCounted: isCounted) }
      return (routing, losses)
    }

    func loss() -> Double {
      let (routing, losses) = forward()
      var loss = 0.7 * losses.balance + 0.3 * losses.z
      for number in routing.choice.indices where routing.kept[number] {
        loss += Double(r[number, 0]) * Double(routing.probability[number])
      }
      return loss
    }
  }

  @Test(arguments: cases) func gradientsEqualFiniteDifferences(_ given: Case) {
    let problem = Problem(given)
    let (routing, losses) = problem.forward()
    #expect((routing.keptCount < 12 * given.k) == (given.capacity != .unlimited))
    let (dx, dweight) = (Matrix(rows: 12, columns: 5), Matrix(rows: 4, columns: 5))
    let dbias = Matrix(rows: 1, columns: 4)
    // Each of the two equal layers gives the gradient once.
    for layer in 0..<2 {
      problem.gate.backward(
        problem.x, weight: problem.weight, routing: routing, key: Self.key, isTraining: true,
        dcombine: layer == 0 ? problem.r.values : Array(repeating: 0, count: 12 * given.k),
        losses: losses.gradient(
          balanceScale: 0.7, zScale: 0.3, group: problem.groups, isCounted: problem.isCounted),
        into: GateGradients(weight: dweight, bias: dbias, x: dx), on: .inline)
    }
    expectGradient(dx, of: problem.loss, withRespectTo: problem.x, "dx")
    expectGradient(dweight, of: problem.loss, withRespectTo: problem.weight, "dweight")
    expectGradient(dbias, of: problem.loss, withRespectTo: problem.bias, "dbias")
  }

  // MARK: Losses

  /// All tokens at one of two experts with certainty: E; balanced: 1, by k for k choices.
  @Test func theBalanceLossAtItsEnds() {
    func loss(_ rows: [[Float]], k: Int) -> Double {
      let routing = gate(k: k, .probability, experts: 2).route(
        logits: logits(rows), capacity: .unlimited, sequences: [0..<rows.count])
      var losses = RouterLoss(experts: 2, groups: 1, share: .choices)
      losses.add(routing, group: rows.map { _ in 0 })
      return losses.balance
    }
    #expect(abs(loss([[40, 0], [40, 0]], k: 1) - 2) < 1e-6)
    #expect(abs(loss([[40, 0], [0, 40]], k: 1) - 1) < 1e-6)
    #expect(abs(loss([[40, 0], [0, 40]], k: 2) - 2) < 1e-6)
  }

  /// An imbalance of one layer cancels that of another: the loss is of all layers together.
  @Test func layersArePooled() {
    var losses = RouterLoss(experts: 2, groups: 1, share: .choices)
    for rows in [[[40, 0] as [Float]], [[0, 40]]] {
      let routing = gate(k: 1, .probability, experts: 2).route(
        logits: logits(rows), capacity: .unlimited, sequences: [0..<1])
      losses.add(routing, group: [0])
    }
    #expect(abs(losses.balance - 1) < 1e-6)
    #expect(abs(losses.z - 1600) < 1e-3)
  }

  /// A dropped choice counts for expert 0.
  @Test func droppedChoicesMayCountForTheFirstExpert() {
    let routing = gate(k: 1, .probability, experts: 2).route(
      logits: logits([[0, 40], [0, 40]]), capacity: .perSequence(1), sequences: [0..<2])
    for (share, expected) in [(RouterLoss.Share.choices, 2.0), (.keptOrFirst, 1)] {
      var losses = RouterLoss(experts: 2, groups: 1, share: share)
      losses.add(routing, group: [0, 0])
      #expect(abs(losses.balance - expected) < 1e-6)
    }
  }
}

import Base
import Kernels
import Layers
import Models
import Testing

/// Gates that decide for whole sentences and tasks, and two experts a token.
@Suite struct GateInputTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let encoder: Zcode.GateKind
    let decoder: Zcode.GateKind
    let k: Int

    var testDescription: String { "\(encoder) / \(decoder), top-\(k)" }

    func model(jitter: Float = 0, threads: Int = 1) -> TinyModel {
      TinyModel(
        experts: 4, threads: threads, rule: k == 1 ? nil : .topK(Self.topTwo(jitter)),
        gates: (encoder, decoder))
    }

    private static func topTwo(_ jitter: Float) -> TopKRule {
      var rule = TopKRule()
      (rule.k, rule.combine, rule.priority) = (2, .shareOfKept, .random)
      rule.trainingCapacity = .factor(0.8, minimum: 1)
      rule.evaluationCapacity = .factor(2, minimum: 1)
      (rule.pool, rule.share, rule.balanceCoefficient) = (.layer, .firstChoices, 0.5)
      (rule.jitter, rule.seed) = (jitter, 5)
      return rule
    }
  }
  static let cases = [
    Case(encoder: .token, decoder: .token, k: 2),
    Case(encoder: .sentence, decoder: .task(.targetLanguage), k: 1),
    Case(encoder: .sentence, decoder: .task(.targetLanguage), k: 2),
    Case(encoder: .task(.languagePair), decoder: .task(.languagePair), k: 2),
    Case(encoder: .token, decoder: .task(.targetLanguage), k: 2),
  ]

  @Test(arguments: cases) func gradientsAreRight(_ given: Case) {
    let tiny = given.model()
    let experts = tiny.gradients()
    #expect(tiny.model.droppedShare > 0 || !tiny.model.layers(.encoder).contains(where: \.mayDrop))
    let dense = tiny.model.dense
    let computed = dense.layout.slots.map { dense.gradient($0).values }
    for (number, slot) in dense.layout.slots.enumerated() {
      let name = slot.parts[0].name
      if name.contains("task_embedding") || name.contains("router") {
        #expect(computed[number].contains { $0 != 0 }, "\(name) learns")
      }
      GradientCheck(tiny).check(name, number, dense.weights(slot), computed[number])
    }
    for (number, block) in experts.keys.sorted().enumerated() {
      guard let weights = tiny.experts[block], let gradient = experts[block] else { continue }
      GradientCheck(tiny).check(
        "\(block)", number, weights.matrix(rows: 1, columns: weights.count), gradient)
    }
  }

  /// All tokens of a task have the same experts with the same weights, in every micro-batch, and none
  /// is dropped.
  @Test(arguments: [1, 2]) func aTaskHasOneSetOfExperts(_ k: Int) {
    let tiny = Case(encoder: .token, decoder: .task(.targetLanguage), k: k).model(jitter: 0.1)
    for mode in [Transformer.Mode.training, .evaluation] {
      tiny.forward(mode: mode)
      let routing = tiny.model.routings[1]
      var sets: [Int: Set<[UInt32]>] = [:]
      for (gate, (lengths, tasks)) in zip(
        routing.gates, zip(TinyModel.targetLengths, TinyModel.tasks))
      {
        #expect(gate.kept.allSatisfy { $0 })
        let ofToken = zip(lengths, tasks).flatMap { Array(repeating: $1.target, count: $0) }
        for (token, task) in ofToken.enumerated() {
          let choices = token * k..<(token + 1) * k
          let words = choices.flatMap {
            [UInt32(gate.choice[$0]), gate.probability[$0].bitPattern]
          }
          sets[task, default: []].insert(words)
        }
      }
      #expect(sets.count == 2)
      #expect(sets.values.allSatisfy { $0.count == 1 })
    }
  }

  /// The same of encoders, and of tasks by pairs.
  @Test(arguments: [TaskEmbedding.Kind.targetLanguage, .languagePair], [1, 2])
  func everyTaskHasOneSetOfExperts(_ kind: TaskEmbedding.Kind, _ k: Int) {
    let tiny = Case(encoder: .task(kind), decoder: .task(kind), k: k).model(jitter: 0.1)
    for mode in [Transformer.Mode.training, .evaluation] {
      tiny.forward(mode: mode)
      for (routing, batch) in zip(tiny.model.routings, [tiny.batch.source, tiny.batch.target]) {
        var sets: [SequenceTask: Set<[UInt32]>] = [:]
        for (sequence, task) in zip(batch.sequences, batch.tasks) {
          let task = kind == .languagePair ? task : SequenceTask(source: 0, target: task.target)
          for row in sequence {
            let (gate, token) = routing.place(of: row, k)
            let choices = token * k..<(token + 1) * k
            #expect(choices.allSatisfy { gate.kept[$0] })
            sets[task, default: []].insert(
              choices.flatMap { [UInt32(gate.choice[$0]), gate.probability[$0].bitPattern] })
          }
        }
        #expect(sets.count > 1 && sets.values.allSatisfy { $0.count == 1 })
      }
    }
  }

  /// The balance loss alone reaches the embeddings of tasks: without it they have another gradient.
  @Test func theBalanceLossReachesTheEmbeddingsOfTasks() throws {
    func gradients(_ coefficient: Float) throws -> [String: [Float]] {
      var rule = TopKRule()
      (rule.k, rule.pool, rule.share) = (2, .layer, .firstChoices)
      rule.balanceCoefficient = coefficient
      let tiny = TinyModel(
        experts: 4, rule: .topK(rule), gates: (.token, .task(.targetLanguage)))
      _ = tiny.gradients()
      return tiny.model.dense.layout.slots.reduce(into: [:]) {
        $0[$1.parts[0].name] = tiny.model.dense.gradient($1).values
      }
    }
    let (without, with) = (try gradients(0), try gradients(1))
    let name = try #require(with.keys.first { $0.contains("decoder.task_embedding") })
    let differences = zip(without[name] ?? [], with[name] ?? []).map { abs($0 - $1) }
    #expect(differences.contains { $0 > 1e-5 })
  }

  /// Tasks by pairs tell sources apart that tasks by target do not.
  @Test func pairsAreTasksOfTheirOwn() {
    let tiny = Case(encoder: .token, decoder: .task(.languagePair), k: 2).model()
    tiny.forward()
    let gate = tiny.model.routings[1].gates[0]
    let first = gate.row(0)
    #expect((0..<6).allSatisfy { gate.row($0) == first })
    #expect(gate.row(6) != first)
  }

  /// Where the rows of a batch of these sources go in the encoder's layer with experts.
  private func routing(_ sources: [[Int32]], padding: [Int]? = nil) -> Routing {
    var batch = PackedBatch()
    var (rows, start): ([Range<Int>], Int) = ([], 0)
    for (index, source) in sources.enumerated() {
      let end = start + source.count + (padding?[index] ?? 0)
      rows.append(start..<end)
      start = end
    }
    let tokens = sources.enumerated().flatMap { index, source in
      source + Array(repeating: 0, count: padding?[index] ?? 0)
    }
    batch.source.append(
      tokens: tokens, sequences: rows, tokensOfSequences: padding.map { _ in sources.map(\.count) })
    batch.target.append(
      tokens: sources.map { $0[0] }, sequences: sources.indices.map { $0..<$0 + 1 })
    batch.labels = sources.map { $0[0] }
    let gates = (encoder: Zcode.GateKind.sentence, decoder: Zcode.GateKind.token)
    let tiny = TinyModel(TinyModel(experts: 4, gates: gates).model.description, batch: batch)
    tiny.model.dense.initialise(seed: 3)
    tiny.model.embed(batch, step: 4, mode: .evaluation)
    for layer in tiny.model.layers(.encoder) {
      tiny.model.attendForward(layer)
      if layer.mixture != nil { tiny.model.routeForward(layer) }
    }
    return tiny.model.routings[0].gates[0]
  }

  /// Padding is no part of a sentence's mean, and other sentences, in any order, are none of its business.
  /// Tolerance: products of other shapes round otherwise.
  @Test func neitherPaddingNorOthersDecide() {
    let (a, b, c): ([Int32], [Int32], [Int32]) = ([3, 5, 7, 9], [4, 6, 8], [12, 11, 10, 3, 4])
    let alone = routing([a])
    let wanted = alone.row(0)
    for (other, row) in [
      (routing([a, b, c]), 0), (routing([c, b, a]), 8), (routing([b, a, a]), 3),
      (routing([a, b], padding: [3, 0]), 0), (routing([b, a], padding: [2, 1]), 5),
    ] {
      #expect(zip(wanted, other.row(row)).allSatisfy { abs($0 - $1) < 1e-5 })
      #expect(other.choice[row] == alone.choice[0])
    }
    #expect(zip(wanted, routing([b]).row(0)).contains { abs($0 - $1) > 1e-3 })
  }

  /// The tokens of a sentence have one set of experts.
  @Test func aSentenceHasOneSetOfExperts() {
    let tiny = Case(encoder: .sentence, decoder: .token, k: 2).model()
    tiny.forward(mode: .evaluation)
    let gate = tiny.model.routings[0].gates[0]
    let first = gate.choice[..<2]
    #expect((1..<5).allSatisfy { gate.choice[2 * $0..<2 * $0 + 2].elementsEqual(first) })
    #expect(gate.row(0) != gate.row(5))
  }

  @Test func threadsChangeNoBit() {
    for given in Self.cases {
      let (one, two) = (given.model(), given.model(threads: 2))
      #expect(one.gradients() == two.gradients())
      for slot in one.model.dense.layout.slots {
        #expect(two.model.dense.gradient(slot).values == one.model.dense.gradient(slot).values)
      }
    }
  }
}

extension LayerRouting {
  /// The micro-batch of a row of the batch, and the number of its token there.
  fileprivate func place(of row: Int, _ k: Int) -> (gate: Routing, token: Int) {
    var token = row
    for gate in gates {
      if token < gate.choice.count / k { return (gate, token) }
      token -= gate.choice.count / k
    }
    preconditionFailure("a row of the batch")
  }
}

extension Routing {
  /// The probabilities of a token.
  fileprivate func row(_ token: Int) -> [Float] { probabilities.rows(token..<token + 1).values }
}

extension LayerDescription {
  fileprivate var mayDrop: Bool {
    if case .token = gateInput { true } else { false }
  }
}

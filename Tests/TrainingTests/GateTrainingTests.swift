import Base
import Interchange
import Layers
import Models
import Storage
import TestSupport
import Testing
import Training

/// The promises, for every kind of gate.
@Suite struct GateTrainingTests {
  struct Gates: CustomTestStringConvertible, Sendable {
    let encoder: String
    let decoder: String
    var perToken = 1
    var tasksPerStep = 0
    var policy = "all"
    var selection = "random"

    var testDescription: String { "\(encoder)/\(decoder), \(perToken) a token, \(selection)" }

    func run() throws -> TinyRun {
      var run = try TinyRun()
      run.config.model.encoder_gate = encoder
      run.config.model.decoder_gate = decoder
      run.config.model.num_experts_per_tok = perToken
      run.config.model.second_expert_policy = policy
      run.config.model.token_selection = selection
      run.config.data.tasks_per_step = tasksPerStep
      if ![encoder, decoder].contains("token") { run.config.model.router_jitter_noise = 0 }
      return run
    }
  }
  static let gates = [
    Gates(encoder: "token", decoder: "token", perToken: 2, policy: "sampling"),
    Gates(encoder: "token", decoder: "token", selection: "priority"),
    Gates(encoder: "sentence", decoder: "target_language"),
    Gates(encoder: "token", decoder: "target_language", perToken: 2, tasksPerStep: 2),
    Gates(encoder: "language_pair", decoder: "language_pair", perToken: 2),
    Gates(
      encoder: "token", decoder: "language_pair", perToken: 2, policy: "random",
      selection: "first"),
  ]
  private static let steps = 4

  /// Resident, with the least memory, with the dense part paged and more threads, and stopped in
  /// between: the same losses, weights and moments.
  @Test(arguments: gates) func theBitsAreTheSame(_ gates: Gates) throws {
    func computed(
      _ change: (inout TinyRun) throws -> Void, stops: [Int] = []
    ) throws -> (metrics: [[UInt64]], checksums: [BlockID: [UInt64]]) {
      var run = try gates.run()
      try change(&run)
      var metrics: [StepMetrics] = []
      for last in stops + [Self.steps] { metrics += try run.train(to: last) }
      return (metrics.map(\.computed), try run.checksums())
    }
    let resident = try computed {
      $0.config.memory.resident = true
      $0.config.memory.budget = "1GiB"
    }
    let least = try computed { $0.config.memory.budget = "\(try $0.leastBudget())" }
    let paged = try computed(
      {
        $0.config.memory.dense = "paged"
        $0.config.memory.budget = "1GiB"
        $0.config.compute.threads = 2
      }, stops: [2])
    for other in [least, paged] {
      #expect(other.metrics == resident.metrics)
      #expect(other.checksums == resident.checksums)
    }
  }

  /// With one task a step the experts of both stacks are few, known before the sweeps, and nothing
  /// else crosses the disk.
  @Test func aStepMovesTheExpertsOfItsTasksAlone() throws {
    var run = try Gates(
      encoder: "target_language", decoder: "target_language", perToken: 2, tasksPerStep: 1
    ).run()
    run.config.memory.dense = "resident"
    run.config.memory.held_gradients = "0"
    // Room for the blocks of a step: with fewer frames what was anticipated may have to make way again.
    run.config.memory.budget = "\(try run.leastBudget() + 8 * Self.bytes(.all))"
    var session = try run.session()
    var (met, stepsOfKnown) = (Set<BlockID>(), 0)
    for step in 1...8 {
      let targets = Set(session.batch(step: step).target.tasks.map(\.target))
      let line = try session.runStep()
      var blocks: Set<BlockID> = []
      for layer in [nil, 1, 2] as [Int?] {
        blocks.formUnion(session.likelyExperts(after: layer, in: .training))
      }
      // Two experts in each of two layers, in two slices.
      #expect(targets.count == 1 && blocks.count == 2 * 2 * 2)
      #expect(line.task_experts == 4 && line.experts_touched == 4 && line.tasks == 1)

      // Virgin blocks are not read; the backward sweep may find what the forward sweep made of them.
      let known = blocks.intersection(met).count
      let (hi, record) = (Self.bytes(.hi), Self.bytes(.all))
      let moved = line.read_bytes + line.found_bytes - known * (hi + record)
      #expect((0...(blocks.count - known) * hi).contains(moved))
      stepsOfKnown += known == blocks.count ? 1 : 0
      met.formUnion(blocks)
      #expect(line.write_bytes == blocks.count * record)
      #expect(line.anticipated_unused_bytes == 0)
    }
    #expect(stepsOfKnown > 0, "bytes were compared exactly")
    #expect(met.count < 2 * 6 * 2, "other tasks' experts were left alone")
  }

  /// Which tokens find room in a full expert is the same with little memory, on threads, and after a stop.
  @Test(arguments: ["random", "first", "priority"], [1, 2])
  func theSameTokensAreKept(_ selection: String, _ perToken: Int) throws {
    func kept(
      _ stops: [Int] = [], _ change: (inout TinyRun) throws -> Void = { _ in }
    ) throws -> [[[Bool]]] {
      var run = try Gates(
        encoder: "token", decoder: "token", perToken: perToken, selection: selection
      ).run()
      run.config.model.capacity_factor = 0.5
      try change(&run)
      var steps: [[[Bool]]] = []
      for last in stops + [Self.steps] {
        var session = try run.session()
        while session.nextStep <= last {
          _ = try session.runStep()
          steps.append(session.routings.map { $0.gates.flatMap(\.kept) })
        }
        try session.commit()
      }
      return steps
    }
    let reference = try kept()
    #expect(reference.count == Self.steps && Set(reference[0].flatMap { $0 }).count == 2)
    #expect(reference[0] != reference[1])
    #expect(try kept { $0.config.memory.budget = "\(try $0.leastBudget())" } == reference)
    #expect(try kept { $0.config.compute.threads = 3 } == reference)
    #expect(try kept([1, 3]) == reference)
  }

  /// Fewer tasks than experts leave some idle for ever: it is said before anything is trained.
  @Test func idleExpertsAreTold() throws {
    var run = try Gates(encoder: "token", decoder: "target_language").run()
    run.config.model.num_experts = 24
    let notes = try run.session().notes
    #expect(
      notes.contains { $0.contains("the decoder's gates tell") && $0.contains("of 24 experts") })
    #expect(!notes.contains { $0.contains("the encoder's") })
    run.config.model.num_experts = 2
    run.config.storage.paths = [run.directory.path + "/other"]
    #expect(try !run.session().notes.contains { $0.contains("gates tell") })
  }

  /// What the tasks of a batch choose, by this test's own arithmetic on the exported weights, is what the
  /// step updates: the union over its tasks, no more and no less.
  @Test(arguments: [1, 2]) func aStepUpdatesWhatItsTasksChoose(_ perToken: Int) throws {
    var run = try Gates(
      encoder: "target_language", decoder: "language_pair", perToken: perToken, tasksPerStep: 3
    ).run()
    run.config.memory.budget = "\(try run.leastBudget())"
    run.config.storage.paths = [run.run.store]
    var unions = Set<Int>()
    for step in 2...6 {
      try run.trainInDirectory(to: step - 1)
      let (path, _) = try run.export("before-\(step)") { $0.type = .f32 }
      let weights = try ExportedGates("\(path)/model.safetensors")
      let wanted = try weights.union(of: run.batch(step: step), perToken: perToken)
      try run.trainInDirectory(to: step)
      let updated = try run.histories().filter { $0.value.lastStep == step }.keys
      #expect(Set(updated) == wanted)
      unions.insert(wanted.count)
    }
    #expect(unions.count > 1, "batches of other tasks have other unions")
  }

  /// Of a slice of `TinyRun`'s experts.
  private static func bytes(_ planes: PlaneSet) -> Int {
    let geometry = RecordGeometry(parametersPerBlock: 32 * 32 * 2)
    return planes.planes.reduce(0) { $0 + geometry.planeBytes($1) }
  }
}

extension TinyRun {
  fileprivate func batch(step: Int) throws -> PackedBatch { try session().batch(step: step) }
}

/// The gates of a run of two layers with experts, as an export has them, and what follows from them.
private struct ExportedGates {
  private let file: SafetensorsFile

  init(_ path: String) throws { file = try SafetensorsFile(path) }

  /// The slices of all experts that the tasks of `batch` choose: the encoder's by target language, the
  /// decoder's by pair.
  func union(of batch: PackedBatch, perToken: Int) throws -> Set<BlockID> {
    let languages = try rows("model.encoder.task_embedding.weight").count
    let sides = [
      ("encoder", 0, batch.source.tasks.map(\.target)),
      ("decoder", 1, batch.target.tasks.map { $0.source * languages + $0.target }),
    ]
    var union: Set<BlockID> = []
    for (side, layer, tasks) in sides {
      let embeddings = try rows("model.\(side).task_embedding.weight")
      let gate = try rows("model.\(side).layers.1.ffn.router.classifier.weight")
      for task in Set(tasks) {
        let logits = gate.map { row in
          zip(row, embeddings[task]).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        }
        let best = logits.indices.sorted { logits[$0] > logits[$1] }.prefix(perToken)
        for expert in best {
          for slice in 0..<2 { union.insert(.expert(layer: layer, expert, slice: slice)) }
        }
      }
    }
    return union
  }

  private func rows(_ name: String) throws -> [[Float]] {
    let entry = try #require(file.header.entries.first { $0.tensor.name == name })
    let (rows, columns) = (entry.tensor.shape[0], entry.tensor.shape[1])
    var values = [Float](repeating: 0, count: rows * columns)
    var span = values.mutableSpan
    var bytes = unsafe span.mutableBytes
    try file.read(entry, from: 0, into: &bytes)
    return (0..<rows).map { Array(values[$0 * columns..<($0 + 1) * columns]) }
  }
}

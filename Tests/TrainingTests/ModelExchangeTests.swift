import Base
import Corpus
import DirectIO
import Foundation
import Interchange
import Storage
import TestSupport
import Testing
import Training

extension TinyRun {
  var run: RunDirectory { RunDirectory(directory.path + "/run") }

  /// Trains to `last` in the run directory, as `pagoda train` does.
  func trainInDirectory(to last: Int) throws {
    var trainer = Trainer(config, run: run, lastStep: last, profiles: profiles)
    _ = try trainer.train(isStopping: { false }, observe: { _ in })
  }

  func export(
    _ name: String, _ change: (inout ModelExport.Options) -> Void = { _ in }
  ) throws -> (path: String, report: ModelExport.Report) {
    var options = ModelExport.Options()
    change(&options)
    var export = try ModelExport(run, config, options)
    let path = "\(directory.path)/\(name)"
    return (path, try export.write(to: path))
  }

  /// A run of its own made of the export at `path`.
  func imported(_ path: String) throws -> (run: TinyRun, report: ModelImport.Report) {
    var copy = try TinyRun()
    let model = try ModelImport(path, into: copy.run, .with(profiles: copy.profiles))
    let report = try model.make()
    copy.config = model.config
    copy.config.storage.paths = [copy.run.store]
    return (copy, report)
  }

  /// What the store remembers of each expert's slice.
  func histories() throws -> [BlockID: BlockHistory] {
    let store = try Store.openReadOnly(paths: storePaths, disk: openDisk().disk)
    return store.writtenBlocks.filter { $0.kind == .expert }.reduce(into: [:]) {
      $0[$1] = store.record(of: $1)?.history
    }
  }
}

/// Every file of a directory.
private func contents(_ path: String) throws -> [String: Data] {
  try FileManager.default.contentsOfDirectory(atPath: path).reduce(into: [:]) {
    $0[$1] = try Data(contentsOf: URL(fileURLWithPath: "\(path)/\($1)"))
  }
}

@Suite struct ModelExchangeTests {
  /// A run of experts enough that some are never touched, so that they stay virgin.
  private static func run() throws -> TinyRun {
    var run = try TinyRun()
    run.config.model.num_experts = 24
    run.config.storage.paths = [run.run.store]
    return run
  }

  /// Goal: export with moments, import, train on: the bits of a run that never stopped.
  @Test func anImportedRunContinuesWithTheSameBits() throws {
    let whole = try Self.run()
    try whole.run.create()
    let metrics = try whole.train(to: 8)

    var run = try Self.run()
    run.config.memory.budget = "\(try run.leastBudget())"
    try run.trainInDirectory(to: 4)
    let blocks = 2 * 24 * 2
    try #require(try run.histories().count < blocks, "some blocks are virgin")
    let (path, report) = try run.export("exported") {
      $0.hasOptimizer = true
      $0.shardBytes = 100_000
    }
    #expect(report.step == 4 && report.files > 8)
    let (copy, imported) = try run.imported(path)
    #expect(imported.step == 4 && imported.blocks == blocks)
    #expect(imported.writtenBlocks == (try run.histories().count))
    #expect(try copy.histories() == run.histories())
    // The dense part is written whole by both.
    #expect(try copy.checksums() == run.checksums())

    #expect(try copy.train(to: 8).map(\.computed) == metrics.dropFirst(4).map(\.computed))
    #expect(try copy.checksums() == whole.checksums())
  }

  @Test func weightsAloneStartANewRun() throws {
    let run = try Self.run()
    try run.trainInDirectory(to: 4)
    let (path, report) = try run.export("exported")
    #expect(!report.hasOptimizer)
    let (copy, imported) = try run.imported(path)
    #expect(imported.step == 0 && !imported.hasOptimizer)
    let (old, new) = (try run.checksums(), try copy.checksums())
    #expect(old.keys == new.keys)
    for (block, sums) in new {
      #expect(sums[..<2] == old[block]?[..<2], "the weights of \(block)")
      #expect(sums[2] == sums[3], "zeros in both moments of \(block)")
    }
    #expect(Set(try copy.histories().values) == [BlockHistory()])
    #expect(try copy.train(to: 2).map(\.step) == [1, 2])
  }

  /// What memory there is and how it is cut decides nothing of what is written.
  @Test func everyMemoryWritesTheSameBytes() throws {
    let run = try Self.run()
    try run.trainInDirectory(to: 2)
    let (path, _) = try run.export("large") { $0.hasOptimizer = true }
    var memory = 1 << 20
    while true {
      do {
        let (small, report) = try run.export("small") {
          $0.hasOptimizer = true
          $0.memory = memory
          $0.panelRowsMax = 5
        }
        #expect(report.memoryBudgetBytes == memory)
        #expect(try contents(small) == contents(path))
        return
      } catch let refusal as MemoryRefusal {
        memory += refusal.missing
      }
    }
  }

  /// The names and shapes of Hugging Face's NLLB-MoE, and each tensor once.
  @Test func tensorsHaveTheNamesOfTheirFamily() throws {
    var run = try TinyRun()
    run.config.storage.paths = [run.run.store]
    try run.trainInDirectory(to: 1)
    let (path, report) = try run.export("exported") { $0.hasOptimizer = true }
    let folder = try CheckpointFolder(path, stem: "model")
    let vocabulary = try Fixture.shared.corpus.vocabularySize
    for (name, shape) in [
      ("model.shared.weight", [vocabulary, 32]),
      ("model.encoder.layers.0.self_attn.q_proj.weight", [32, 32]),
      ("model.encoder.layers.0.self_attn.v_proj.weight", [32, 32]),
      ("model.encoder.layers.0.self_attn_layer_norm.bias", [32]),
      ("model.encoder.layers.0.ffn.fc1.weight", [64, 32]),
      ("model.encoder.layers.0.ffn.fc2.weight", [32, 64]),
      ("model.encoder.layers.1.ffn.router.classifier.weight", [6, 32]),
      ("model.encoder.layers.1.ffn.experts.expert_5.fc1.weight", [64, 32]),
      ("model.decoder.layers.1.ffn.experts.expert_0.fc2.weight", [32, 64]),
      ("model.decoder.layers.0.cross_attention.k_proj.weight", [32, 32]),
      ("model.decoder.layers.0.cross_attention_layer_norm.weight", [32]),
      ("model.decoder.layers.1.ff_layer_norm.weight", [32]),
      ("model.decoder.layer_norm.weight", [32]),
    ] {
      #expect(folder.tensor(name)?.shape == shape, "\(name)")
      #expect(folder.tensor(name)?.type == .f32)
    }
    // 2 norms of stacks; per layer 4 projections, 2 norms; in the decoder a second attention.
    let experts = 2 * 6 * 2
    #expect(folder.names.count == 1 + 4 + 2 * 8 + 2 * (8 + 6) + 2 * 2 + 2 + experts)
    let moments = try CheckpointFolder(path, stem: "optimizer")
    #expect(
      moments.names == Set(folder.names.flatMap { ["\($0).exp_avg", "\($0).exp_avg_sq"] }))
    let floats = folder.names.reduce(0) { $0 + (folder.tensor($1)?.shape.reduce(1, *) ?? 0) }
    #expect(report.parameters == floats)

    let any = try JSONSerialization.jsonObject(
      with: Data(contentsOf: URL(fileURLWithPath: path + "/config.json")))
    let config = try #require(any as? [String: Any])
    #expect(config["model_type"] as? String == "pagoda-zcode")
    #expect(config["d_model"] as? Int == 32 && config["num_experts"] as? Int == 6)
    #expect(config["encoder_sparse_step"] as? Int == 2)
    #expect(config["vocab_size"] as? Int == vocabulary)
  }

  /// A virgin expert is exported as its seed gives it, in the orientation of the family: fc1 is
  /// [hidden, width] over both slices, fc2 the other way round.
  @Test func anExpertIsPutTogetherFromItsSlices() throws {
    let run = try Self.run()
    try run.trainInDirectory(to: 1)
    let written = Set(try run.histories().keys.map { [$0.layer, $0.index] })
    let virgin = try #require((0..<24).first { !written.contains([0, $0]) })
    let (path, _) = try run.export("exported")
    let folder = try CheckpointFolder(path, stem: "model")
    func values(_ matrix: String) throws -> [Float] {
      let name = "model.encoder.layers.1.ffn.experts.expert_\(virgin).\(matrix).weight"
      var floats = [Float](repeating: 0, count: 64 * 32)
      var span = floats.mutableSpan
      try folder.read(name, rows: 0..<(folder.tensor(name)?.shape[0] ?? 0), into: &span)
      return floats
    }
    let (first, second) = (try values("fc1"), try values("fc2"))
    let seeds = TinyExpert(seed: 11, expert: virgin)
    for (row, column) in [(0, 0), (1, 0), (0, 1), (31, 31), (32, 0), (63, 31), (40, 7)] {
      #expect(first[row * 32 + column] == seeds.weight(0, row, column))
      #expect(second[column * 64 + row] == seeds.weight(1, row, column))
    }
  }
}

/// What an import refuses, before it makes anything.
@Suite struct ModelImportRefusalTests {
  private func exported() throws -> (run: TinyRun, path: String) {
    var run = try TinyRun()
    run.config.storage.paths = [run.run.store]
    try run.trainInDirectory(to: 1)
    return (run, try run.export("exported") { $0.hasOptimizer = true }.path)
  }

  private func change(_ path: String, _ old: String, _ new: String) throws {
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let changed = text.replacingOccurrences(of: old, with: new)
    try #require(changed != text)
    try changed.write(toFile: path, atomically: true, encoding: .utf8)
  }

  @Test(arguments: [
    ("config.yaml", "learning_rate: 3e-3", "learning_rate: 4e-3", "describes the run zcode-"),
    ("config.yaml", "num_experts: 6", "num_experts: 5", "describes the run zcode-"),
    ("training_state.json", "\"format_version\":1", "\"format_version\":9", "format 9"),
    ("training_state.json", "\"blocks\":[[", "\"blocks\":[[7,", "is no block of the model"),
    ("training_state.json", "\"blocks\"", "\"blobs\"", "does not read"),
    ("training_state.json", "{", "[", "not the state of an export"),
    ("training_state.json", "\"corpus_checksum\":\"", "\"corpus_checksum\":\"x", "has the content"),
  ])
  func whatContradictsItselfIsRefused(
    _ file: String, _ old: String, _ new: String, _ cause: String
  ) throws {
    let (run, path) = try exported()
    try change("\(path)/\(file)", old, new)
    let error = #expect(throws: ExchangeError.self) { _ = try run.imported(path) }
    #expect(error?.description.contains(cause) == true, "\(String(describing: error))")
  }

  /// Weights alone may start a run of other settings, but not of another shape.
  @Test func weightsMustHaveTheShapeOfTheConfiguration() throws {
    var run = try TinyRun()
    run.config.storage.paths = [run.run.store]
    try run.trainInDirectory(to: 1)
    let (path, _) = try run.export("exported")
    try change("\(path)/config.yaml", "learning_rate: 3e-3", "learning_rate: 4e-3")
    #expect(try run.imported(path).report.step == 0)
    try change("\(path)/config.yaml", "num_experts: 6", "num_experts: 5")
    let fewer = #expect(throws: ExchangeError.self) { _ = try run.imported(path) }
    #expect(fewer?.description.contains("router.classifier.weight` is F32 [6, 32]") == true)
    try change("\(path)/config.yaml", "num_experts: 5", "num_experts: 6")
    try change("\(path)/config.yaml", "encoder_layers: 2", "encoder_layers: 3")
    let more = #expect(throws: ExchangeError.self) { _ = try run.imported(path) }
    #expect(more?.description.contains("encoder.layers.2") == true)
    try change("\(path)/config.yaml", "encoder_layers: 3", "encoder_layers: 1")
    let none = #expect(throws: ExchangeError.self) { _ = try run.imported(path) }
    #expect(
      none?.description.contains("is none of the model") == true, "\(String(describing: none))")
  }

  /// A weight that is not finite is found while the store is filled; nothing of it stays.
  @Test func anInfiniteWeightIsNamedAndNothingStays() throws {
    let (run, path) = try exported()
    let file = try SafetensorsFile("\(path)/model.safetensors")
    let name = "model.decoder.layers.1.ffn.experts.expert_3.fc2.weight"
    let entry = try #require(file.header.entries.first { $0.tensor.name == name })
    var data = try Data(contentsOf: URL(fileURLWithPath: file.path))
    data.replaceSubrange(
      entry.bytes.upperBound - 4..<entry.bytes.upperBound, with: [0, 0, 0x80, 0x7F])
    try data.write(to: URL(fileURLWithPath: file.path))
    let target = RunDirectory(run.directory.path + "/copy")
    let error = #expect(throws: ExchangeError.self) {
      _ = try ModelImport(path, into: target, .with(profiles: run.profiles)).make()
    }
    #expect(error?.description.contains("`\(name)` has a number in row 31") == true)
    #expect(!FileManager.default.fileExists(atPath: target.path))
  }

  @Test func aStopLeavesNothing() throws {
    let (run, path) = try exported()
    let target = RunDirectory(run.directory.path + "/copy")
    var asked = 0
    #expect(throws: ExchangeError.stopped) {
      _ = try ModelImport(path, into: target, .with(profiles: run.profiles)).make(
        isStopping: {
          asked += 1
          return asked == 20
        })
    }
    #expect(!FileManager.default.fileExists(atPath: target.path))
    var export = try ModelExport(run.run, run.config, ModelExport.Options())
    #expect(throws: ExchangeError.stopped) {
      _ = try export.write(to: run.directory.path + "/again", isStopping: { true })
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: run.directory.path)
    #expect(!names.contains { $0.hasPrefix("again") })
  }

  /// Neither a run nor a store that is there is touched; what a killed import left is replaced.
  @Test func onlyWhatAnImportLeftIsReplaced() throws {
    let (run, path) = try exported()
    let before = try run.checksums()
    #expect(throws: ExchangeError.occupiedRun(path: run.run.path)) {
      _ = try ModelImport(path, into: run.run).make()
    }
    let target = RunDirectory(run.directory.path + "/copy")
    #expect(throws: ExchangeError.occupiedStore(path: run.run.store)) {
      _ = try ModelImport(path, into: target, .with(storePaths: [run.run.store])).make()
    }
    #expect(try run.checksums() == before)
    #expect(!FileManager.default.fileExists(atPath: target.path))

    // As a kill between commit and name leaves it.
    let model = try ModelImport(path, into: target, .with(profiles: run.profiles))
    _ = try model.make()
    try FileManager.default.moveItem(atPath: target.config, toPath: target.config + ".unfinished")
    #expect(throws: TrainingError.self) { try target.check(for: model.config) }
    #expect(try model.make().step == 1)
    #expect(
      try FileManager.default.contentsOfDirectory(atPath: target.path).sorted() == [
        "config.yaml", "store",
      ])
  }
}

extension ModelImport.Options {
  static func with(
    storePaths: [String] = [], profiles: DriveProfiles = .ofUser
  ) -> ModelImport.Options {
    var options = ModelImport.Options()
    (options.storePaths, options.profiles) = (storePaths, profiles)
    return options
  }
}

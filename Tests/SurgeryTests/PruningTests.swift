import Base
import Foundation
import Storage
import Surgery
import Testing
import Training

@Suite struct PruningTests {
  private static let steps = 6
  private static let all = Array(repeating: Array(0..<6), count: 2)

  private func trained(perToken: Int = 1) throws -> SmallRun {
    let run = try SmallRun(decoderGate: "token", perToken: perToken)
    try run.train(to: Self.steps)
    return run
  }

  private func storeBytes(_ run: RunDirectory) throws -> Int {
    let path = run.store + "/pages.bin"
    return try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
  }

  /// With all experts kept, in a new run and in place, nothing is computed otherwise.
  @Test(arguments: [1, 2]) func keepingAllChangesNoBit(_ perToken: Int) throws {
    let run = try trained(perToken: perToken)
    let (answers, checksums) = (try run.run.answers(), try run.run.checksums())
    let output = run.other("all")
    let pruning = try Pruning(run.run, run.run.saved, keeping: Self.all)
    _ = try pruning.make(output, profiles: run.profiles)
    #expect(try output.answers() == answers)
    #expect(try output.checksums() == checksums)
    _ = try pruning.inPlace()
    #expect(try run.run.answers() == answers)
    #expect(try run.run.checksums() == checksums)
  }

  /// The records are gone, the drive has their room back, and no other record changed.
  @Test func droppedRecordsGiveTheirRoomBack() throws {
    let run = try trained()
    let before = try run.run.checksums()
    let kept = [[0, 3], [1, 2, 5]]
    let (whole, record) = (try storeBytes(run.run), try run.run.store().geometry.recordBytes)
    let pruning = try Pruning(run.run, run.run.saved, keeping: kept)
    let copy = run.other("copy")
    _ = try pruning.make(copy, profiles: run.profiles)
    let report = try pruning.inPlace()
    let after = try run.run.checksums()
    let wanted = before.filter { block, _ in
      block.kind != .expert || kept[block.layer].contains(block.index)
    }
    #expect(after == wanted)
    #expect(report.expertsBefore == [6, 6] && report.kept == kept)
    #expect(try storeBytes(run.run) == 4096 + wanted.count * record)
    #expect(try copy.checksums() == wanted)
    let blocks = 2 * 5 + before.keys.count { $0.kind != .expert }
    #expect(try storeBytes(copy) == SmallRun.newStoreBytes(blocks: blocks, record))
    #expect(try report.bytes == whole - storeBytes(run.run))
    #expect(
      try run.run.store().description.blocks == 2 * 5 + before.keys.count { $0.kind != .expert })
  }

  /// It goes on learning: tokens go to what is kept, and nothing else is ever written.
  @Test func aPrunedRunIsTrainedOn() throws {
    let run = try trained()
    let kept = [[0, 3], [1, 2, 5]]
    _ = try Pruning(run.run, run.run.saved, keeping: kept).inPlace()
    let usage = try HeldOutUsage(run.run, run.run.saved, memory: 400 << 20)
    for (layer, kept) in zip(usage.layers, kept) {
      #expect(layer.total.indices.filter { layer.total[$0] > 0 }.allSatisfy(kept.contains))
      #expect(layer.total.reduce(0, +) > 0)
    }
    try run.train(run.run.saved, run.run, to: Self.steps + 2)
    for block in try run.run.store().writtenBlocks where block.kind == .expert {
      #expect(kept[block.layer].contains(block.index))
    }
    // And once more.
    _ = try Pruning(run.run, run.run.saved, keeping: [[3], [5]]).inPlace()
    #expect(try run.run.answers().count == 3)
  }

  /// The store knows first: a configuration that does not know yet is refused, until the same command
  /// tells it.
  @Test func anInterruptedPruningIsEnded() throws {
    let run = try trained()
    let old = try run.run.saved
    let pruning = try Pruning(run.run, old, keeping: [[0, 3], [1, 2, 5]])
    _ = try pruning.inPlace()
    try run.run.claim(for: old)
    for act in [{ _ = try run.run.answers() }, { try run.train(old, run.run, to: 9) }] {
      let error = #expect(throws: TrainingError.self) { try act() }
      #expect(error.map { "\($0)" }?.contains("pagoda expert prune") == true)
    }
    #expect(throws: TrainingError.self) { try pruning.inPlace() }
    let ended = try Pruning.finishInterrupted(run.run, old)
    #expect(ended.model.kept_experts == ["0,3", "1-2,5"])
    #expect(try run.run.saved.model.kept_experts == ended.model.kept_experts)
    #expect(try run.run.answers().count == 3)
    #expect(try Pruning.finishInterrupted(run.run, ended) == ended)
  }

  /// Who trains on with the configuration of before is told of the experts, and of nothing else.
  @Test func theOldConfigurationIsRefused() throws {
    let run = try trained()
    let old = try run.run.saved
    _ = try Pruning(run.run, old, keeping: [[0, 3], [1, 2, 5]]).inPlace()
    do {
      try run.train(old, run.run, to: Self.steps + 1)
      Issue.record("refused")
    } catch TrainingError.runBelongsToAnother(_, let differences) {
      #expect(differences == ["kept_experts: 0,3 1-2,5 there, kept_experts: [] here"])
    }
  }

  @Test func fewerThanATokenChoosesIsRefused() throws {
    let run = try trained(perToken: 2)
    #expect(throws: ConfigError.self) {
      try Pruning(run.run, run.run.saved, keeping: [[0], [1, 2]])
    }
  }
}

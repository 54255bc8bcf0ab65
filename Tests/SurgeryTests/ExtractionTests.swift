import Base
import Foundation
import Layers
import Storage
import Surgery
import TestSupport
import Testing
import Training

@Suite struct ExtractionTests {
  private static let steps = 6

  /// One of each routing, trained once.
  private static let targets = Result { try trained("target_language", perToken: 2) }
  private static let pairs = Result { try trained("language_pair", perToken: 1) }

  private static func trained(_ gate: String, perToken: Int) throws -> SmallRun {
    let run = try SmallRun(decoderGate: gate, perToken: perToken)
    try run.train(to: steps)
    return run
  }

  private func extract(_ run: SmallRun, _ task: String, as name: String) throws -> (
    RunDirectory, Extraction.Report
  ) {
    let output = run.other(name)
    let extraction = try Extraction(run.run, run.run.saved, task: task)
    return (output, try extraction.make(output, profiles: run.profiles))
  }

  /// The sums of logarithms are of all logits: equal bits of them are equal logits.
  @Test func theTasksAnswersAreTheSameBits() throws {
    let run = try Self.targets.get()
    let (output, report) = try extract(run, "de-en", as: "en")
    let whole = try run.run.answers()
    #expect(try output.answers() == whole)
    #expect(whole.contains { !$0.text.isEmpty })
    // All experts of the encoder, whose gate is by token, and the task's two of the decoder.
    #expect(report.experts == [6, 2] && report.expertsBefore == [6, 6])
  }

  @Test func aPairHasItsOwnExpert() throws {
    let run = try Self.pairs.get()
    let (output, report) = try extract(run, "de-en", as: "de-en")
    #expect(try output.answers() == run.run.answers())
    #expect(report.experts == [6, 1])
  }

  /// The dense part and the task's experts, record by record as they were, and no byte more.
  @Test func theStoreHasWhatTheTaskNeeds() throws {
    let run = try Self.targets.get()
    let (output, report) = try extract(run, "en", as: "bytes")
    let (before, after) = (try run.run.checksums(), try output.checksums())
    #expect(after.allSatisfy { before[$0.key] == $0.value })
    let kept = try output.saved.keptExperts(layers: 2, experts: 6, perToken: 2)
    let decoder = try #require(kept?[1].experts)
    let wanted = before.keys.filter {
      $0.kind != .expert || $0.layer == 0 || decoder.contains($0.index)
    }
    #expect(Set(after.keys) == Set(wanted))
    let record = try output.store().geometry.recordBytes
    #expect(report.records == wanted.count && report.bytes == wanted.count * record)
    let pages = try FileManager.default.attributesOfItem(atPath: output.store + "/pages.bin")
    let blocks = (6 + decoder.count) * SmallRun.slices + after.keys.count { $0.kind != .expert }
    #expect(pages[.size] as? Int == SmallRun.newStoreBytes(blocks: blocks, record))
    // What held-out text into the language uses, counted, is what was kept.
    let usage = try HeldOutUsage(run.run, run.run.saved, memory: 400 << 20)
    let rows = zip(usage.tasks, usage.layers[1].tokens).filter { $0.0.target == "en" }
    #expect(!rows.isEmpty)
    for (_, tokens) in rows { #expect(tokens.indices.filter { tokens[$0] > 0 } == decoder) }
  }

  /// It is trained on, with the experts that it has, and goes on where the whole run was.
  @Test func itIsARunLikeAnyOther() throws {
    let run = try Self.targets.get()
    let (output, report) = try extract(run, "de-en", as: "tuned")
    let outcome = try run.train(output.saved, output, to: Self.steps + 3)
    #expect(outcome.isFinished && outcome.progress.step == Self.steps + 3)
    let after = try output.checksums()
    let kept = try output.saved.keptExperts(layers: 2, experts: 6, perToken: 2)
    #expect(report.records > 0)
    for block in after.keys where block.kind == .expert {
      #expect(kept?[block.layer].contains(block.index) == true)
    }
    let evaluation = try RunEvaluation(
      output, output.saved, memory: 400 << 20, sentences: 0, TextGenerator.Settings(),
      isStopping: { false })
    let tasks = try #require(evaluation.heldout?.loss_by_task)
    #expect(!tasks.isEmpty && tasks.keys.allSatisfy { $0.hasSuffix("-en") })
  }

  /// Exported and imported again it says the same: the files have the experts that are there.
  @Test func itLeavesAndComesBack() throws {
    let run = try Self.targets.get()
    let (output, _) = try extract(run, "de-en", as: "leaving")
    let files = run.directory.path + "/exported"
    var export = try ModelExport(output, output.saved, ModelExport.Options())
    _ = try export.write(to: files)
    let copy = run.other("back")
    _ = try ModelImport(files, into: copy).make()
    #expect(try copy.answers() == output.answers())
    #expect(try copy.saved.model.kept_experts == output.saved.model.kept_experts)
  }

  /// What it has no experts for is refused, and so is what is no task.
  @Test func otherTasksAreRefused() throws {
    let run = try Self.targets.get()
    let (output, _) = try extract(run, "de-en", as: "refusing")
    let error = #expect(throws: TrainingError.self) { try output.answers(from: "en", to: "de") }
    #expect(error.map { "\($0)" }?.contains("does not translate en-de") == true)
    for task in ["xx", "de-xx", "en-en", "", "de-en-fr"] {
      #expect(throws: SurgeryError.self) { try Extraction(run.run, run.run.saved, task: task) }
    }
    let pairs = try Self.pairs.get()
    #expect(throws: SurgeryError.self) { try Extraction(pairs.run, pairs.run.saved, task: "en") }
    // The directory of a run is no place for another.
    #expect(throws: ExchangeError.self) { try extract(run, "de-en", as: "run") }
  }

  @Test func gatesByTokenHaveNoTasks() throws {
    let run = try SmallRun(decoderGate: "token")
    try run.train(to: 1)
    #expect(throws: SurgeryError.noGateByTask(path: run.run.path)) {
      try Extraction(run.run, run.run.saved, task: "de-en")
    }
  }
}

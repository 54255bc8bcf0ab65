import Base
import Foundation
import Planning
import TestSupport
import Testing
import Training

/// Memory, bytes and bits: what a budget changes and what it does not.
@Suite struct BudgetTests {
  let workplace: Workplace
  init() throws { workplace = try Workplace() }

  private static func record(_ layout: RecordLayout = RecordLayout()) -> BlockBytes {
    BlockBytes(parameters: 2 * Workplace.hidden * Workplace.width, layout)
  }

  /// The process never holds more than its budget, however little that is: the tiny model, more
  /// threads than there are cores, and one whose activations count.
  @Test(arguments: [
    [], ["compute.threads=6"],
    [
      "model.d_model=128", "model.ffn_dim=512", "training.micro_batch_tokens=1024",
      "training.gradient_accumulation_steps=4",
    ],
  ])
  func thePeakStaysBelowTheLeastBudget(_ overrides: [String]) throws {
    let least = try LeastBudget.ofTraining(overrides)
    let budget = least + 4096
    let memory = ["--memory", "\(budget)", "training.max_steps=3"]
    try Pagoda.run(workplace.training("run", memory + overrides)).expect(0)
    let metrics = workplace.metrics("run")
    #expect(metrics.count == 3)
    for line in metrics {
      #expect(line.memory_budget_bytes == budget)
      #expect(line.peak_rss_bytes > 16 << 20 && line.peak_rss_bytes < budget)
    }
    let summary = try workplace.summary("run")
    #expect(summary.memory_budget_bytes == budget && summary.peak_rss_bytes < budget)
  }

  /// Boundaries of 64 MiB wait on the disk under a budget that has no room for them: the peak stays
  /// below it, no file is left, and the bits are those of a run that keeps all in memory.
  @Test func boundariesOnTheDiskFitABudgetThatHasNoRoomForThem() throws {
    let wide = [
      "model.d_model=128", "model.ffn_dim=128", "model.encoder_layers=6",
      "model.decoder_layers=6", "training.micro_batch_tokens=1024",
      "training.gradient_accumulation_steps=4", "training.max_steps=2",
    ]
    let never = try LeastBudget.ofTraining(wide + ["memory.spill=never"])
    let least = try LeastBudget.ofTraining(wide)
    #expect(least < never - (40 << 20), "9 of 32 boundaries are in memory")
    let budget = least + 4096
    let ending = try Pagoda.run(workplace.training("spilled", ["--memory", "\(budget)"] + wide))
    ending.expect(0, "in a scratch file of the store")
    for line in workplace.metrics("spilled") {
      #expect(line.peak_rss_bytes > 16 << 20 && line.peak_rss_bytes < budget)
      #expect(line.spill_write_bytes > 0 && line.spill_read_bytes > 0)
    }
    #expect(!workplace.exists("spilled/store/scratch.bin"))
    try Pagoda.run(workplace.training("resident", ["--memory", "1GiB"] + wide)).expect(0)
    #expect(workplace.metrics("resident").allSatisfy { $0.spill_write_bytes == 0 })
    #expect(try workplace.printedLosses("spilled") == workplace.printedLosses("resident"))
  }

  @Test func aSmallBudgetPagesAndChangesNoBit() throws {
    let budget = "\(try LeastBudget.bytes + 4096)"
    try workplace.trained("paged", "--memory", budget)
    try workplace.trained("resident", "--resident")
    let paged = workplace.metrics("paged")
    let resident = workplace.metrics("resident")
    #expect(paged.dropFirst().allSatisfy { $0.read_bytes > 0 && $0.write_bytes > 0 })
    #expect(resident.allSatisfy { $0.read_bytes == 0 })
    #expect(resident.dropFirst().allSatisfy { $0.hit_rate == 1 })

    let state = Workplace.layers * Workplace.experts * Self.record().record
    #expect(try workplace.summary("paged").expert_state_bytes == state)
    #expect(try workplace.bytes("paged/store/pages.bin").count > 2 * state)

    #expect(try workplace.printedLosses("paged") == workplace.printedLosses("resident"))
    #expect(try workplace.printedEvaluations("paged") == workplace.printedEvaluations("resident"))
    let text = try (Sentences.all()["en"] ?? []).joined(separator: "\n") + "\n"
    let least = try LeastBudget.find {
      try workplace.translate("paged", text, "--memory", "\($0)")
    }
    let translations = [
      try workplace.translate("paged", text, "--memory", "\(least)"),
      try workplace.translate("paged", text, "--memory", "128MiB"),
      try workplace.translate("resident", text),
    ]
    #expect(translations.allSatisfy { $0.exitCode == 0 && !$0.output.isEmpty })
    #expect(Set(translations.map(\.output)).count == 1)
  }

  /// The translations at the end of a run are of fewer sentences at once where memory is short: they
  /// fit where training does, and are the same.
  @Test func theLastTranslationsFitWhereTrainingDoes() throws {
    let least = try LeastBudget.bytes
    try workplace.trained("paged", "--memory", "\(least)", "evaluation.translations=12")
    try workplace.trained("resident", "--resident", "evaluation.translations=12")
    let (paged, resident) = (try workplace.summary("paged"), try workplace.summary("resident"))
    #expect(paged.peak_rss_bytes < least)
    let (few, many) = (try #require(paged.translations), try #require(resident.translations))
    #expect(!few.samples.isEmpty && few.all != nil)
    #expect(few.samples.map(\.translation) == many.samples.map(\.translation))
    #expect(few.all?.chrf == many.all?.chrf && few.all?.bleu == many.all?.bleu)
  }

  /// The same run under any budget, thread count and engine, resumed with another budget as well.
  @Test func nothingButTheConfigurationDecidesTheNumbers() throws {
    let least = try LeastBudget.bytes
    try workplace.trained("a")
    let threads = "compute.threads=3"
    let more = try LeastBudget.ofTraining([threads]) + 300_000
    try workplace.trained("b", "--memory", "\(more)", threads)
    try workplace.trained("c", "--memory", "\(least + 900_000)", "storage.engine=threads")
    try workplace.trained("d", "--memory", "\(least)", "--steps", "5")
    try workplace.trained("d", "--store", workplace.path("d/store"), "storage.queue_depth=2")
    let second = ["--store", workplace.path("x"), "--store", workplace.path("y")]
    try Pagoda.run(workplace.training("e", ["--memory", "\(least)"] + second)).expect(0)
    let losses = try workplace.printedLosses("a")
    #expect(losses.count == 8)
    for run in ["b", "c", "d", "e"] {
      #expect(try workplace.printedLosses(run) == losses, "\(run)")
      let last = try workplace.printedEvaluations(run).last
      #expect(try last == workplace.printedEvaluations("a").last, "\(run)")
    }
  }

  /// Experts alone are counted then.
  private static let denseInMemory = "memory.dense=resident"

  /// Every step moves what the cost model says, from no frames to spare to frames for all weights.
  @Test(arguments: [0, 100_000, 300_000, 700_000])
  func bytesAreThoseOfTheCostModel(_ above: Int) throws {
    let memory = "\(try LeastBudget.ofTraining([Self.denseInMemory]) + above)"
    try workplace.trained(
      "run", "--memory", memory, "checkpoint.every=100", Self.denseInMemory,
      "memory.held_gradients=0")
    try expectBytes(of: Self.record())
  }

  /// Updates that are left to the next forward sweep move their bytes a step later.
  @Test func bytesOfHeldGradientsAreThoseOfTheCostModel() throws {
    let memory = "\(try LeastBudget.ofTraining([Self.denseInMemory]) + 700_000)"
    try workplace.trained(
      "run", "--memory", memory, "checkpoint.every=100", "evaluation.every=6", Self.denseInMemory)
    let metrics = workplace.metrics("run")
    // None in a step before an evaluation, or before the commit at the end.
    #expect(metrics.map { $0.held_left == 0 } == metrics.map { [6, 8].contains($0.step) })
    #expect(metrics.dropFirst().map(\.held_updated) == metrics.dropLast().map(\.held_left))
    // All that the second step updates from held gradients is on no disk yet.
    try expectBytes(of: Self.record(), from: 3)
  }

  /// The same for every precision of moments and master.
  @Test(arguments: StatePrecision.allCases, MasterPrecision.allCases)
  func bytesFollowThePrecision(_ states: StatePrecision, _ master: MasterPrecision) throws {
    let precision = [
      "training.states=\(states)", "training.master=\(master)", Self.denseInMemory,
    ]
    let memory = "\(try LeastBudget.ofTraining(precision) + 20_000)"
    try Pagoda.run(
      workplace.training("run", ["--memory", memory, "checkpoint.every=100"] + precision)
    ).expect(0)
    try expectBytes(
      of: Self.record(RecordLayout(hasLowHalves: master == .fp32, states: states)))
  }

  private func expectBytes(of record: BlockBytes, from first: Int = 1) throws {
    let metrics = workplace.metrics("run")
    // No expert is met for the first time after the first step, which finds all of them virgin.
    #expect(try touchedExperts("run") == metrics[0].experts_touched)
    for line in metrics where line.step >= first {
      let touched = line.experts_touched
      #expect(line.visits == 2 * touched + line.held_untouched)
      let isFirst = line.step == 1
      let predicted = StepTraffic(record, touched: touched, virgin: isFirst ? touched : 0)
      // What is in memory is not read; virgin planes are filled there, and neither found nor read. On
      // the other hand stands what was read for experts that the gate then did not choose.
      let later = line.held_updated - line.held_left
      let held = later * (record.record - record.hi) + line.held_untouched * record.hi
      let reads = predicted.readBytes + held - (isFirst ? 0 : line.found_bytes)
      expect(
        line.read_bytes - line.anticipated_unused_bytes, near: reads, "step \(line.step) reads")
      expect(
        line.write_bytes, near: predicted.writtenBytes + later * record.record,
        "step \(line.step) writes")
    }
  }

  private func expect(_ measured: Int, near predicted: Int, _ what: Comment) {
    #expect(abs(Double(measured - predicted)) <= 0.02 * Double(predicted), what)
  }

  private func touchedExperts(_ run: String) throws -> Int {
    struct Usage: Decodable {
      struct Layer: Decodable { let touched: Int }
      let layers: [Layer]
    }
    let ending = try Pagoda.run(["expert", "stats", workplace.path(run), "--json"])
    let usage = try JSONDecoder().decode(Usage.self, from: Data(ending.output.utf8))
    return usage.layers.reduce(0) { $0 + $1.touched }
  }
}

/// The least budget under which something starts, found the way a person finds it: by raising
/// --memory by what the refusal says is missing.
enum LeastBudget {
  /// Of training the tiny model as it is.
  static var bytes: Int { get throws { try found.get() } }
  private static let found = Result { try ofTraining([]) }

  static func ofTraining(_ overrides: [String]) throws -> Int {
    let workplace = try Workplace()
    return try find {
      try Pagoda.run(workplace.training("run", ["--memory", "\($0)", "--steps", "1"] + overrides))
    }
  }

  static func find(_ attempt: (_ budget: Int) throws -> Ending) throws -> Int {
    var budget = 1 << 20
    for _ in 0..<20 {
      let ending = try attempt(budget)
      if ending.exitCode == 0 { return budget }
      try #require(ending.exitCode == 71, "\(ending.errors)")
      budget += try missing(ending.errors)
    }
    throw CocoaError(.featureUnsupported)
  }

  /// The number in `; 1234 bytes are missing in all`.
  private static func missing(_ message: String) throws -> Int {
    let words = message.split { " ;,".contains($0) }
    let missing = try #require(words.firstIndex(of: "missing"))
    return try #require(Int(words[missing - 3]))
  }
}

import Base
import Goldens
import Interchange
import Models
import Storage
import TestSupport
import Testing
import Training

/// What a generation takes, and how many sequences that leaves room for.
@Suite struct GenerationPlanTests {
  private let description: ModelDescription
  private let wanted = GenerationLimits(
    sequences: 32, beams: 5, promptTokens: 40, newTokens: 30)

  init() throws {
    let golden = try Golden("nllb-moe-tiny")
    description = try ModelDescription(
      golden.configuration(), path: golden.folder + "/config.json")
  }

  private func plan(_ ceiling: Int) throws -> GenerationPlan {
    try GenerationPlan(
      ceiling: ceiling, wanted, description,
      record: RecordGeometry(parametersPerBlock: description.experts.parametersPerBlock),
      threads: 2, others: [MemoryLedger.Grant(name: "program", bytes: 1 << 20)])
  }

  /// Goal: the less memory, the fewer sequences, down to one; below, a refusal that says how much is
  /// missing.
  @Test func sequencesFollowTheMemory() throws {
    let most = try plan(1 << 30)
    #expect(most.limits == wanted)
    var (ceiling, seen) = (most.memory.fixed.reduce(0) { $0 + $1.bytes } << 1, [Int]())
    var refusal: MemoryRefusal?
    while refusal == nil {
      do {
        let plan = try plan(ceiling)
        #expect(plan.memory.fixed.reduce(0) { $0 + $1.bytes } < ceiling)
        #expect(plan.limits.beams == 5 && plan.limits.promptTokens == 40)
        if seen.last != plan.limits.sequences { seen.append(plan.limits.sequences) }
        ceiling -= 16 << 10
      } catch let error as MemoryRefusal {
        refusal = error
      }
    }
    #expect(seen == [32, 16, 8, 4, 2, 1])
    let missing = try #require(refusal).missing
    #expect(try plan(ceiling + missing).limits.sequences == 1)
    #expect(throws: MemoryRefusal.self) { try plan(ceiling + missing - 1) }
  }

  @Test func whatIsTakenIsNamed() throws {
    let names = try plan(1 << 30).memory.fixed.map(\.name)
    #expect(names == ["program", "dense parameters", "activations", "keys and values"])
  }
}

import Base
import Foundation
import Simulation
import Storage
import TestSupport
import Testing
import Training

/// What the backward sweep computes again, finds in memory or reads from the disk is the same.
@Suite struct RecomputeTests {
  private static let steps = 3

  enum Clip: String, CaseIterable { case block, global }

  private func run(_ recompute: String, _ clip: Clip = .block) throws -> TinyRun {
    var run = try TinyRun()
    run.config.memory.recompute = recompute
    run.config.training.clip = clip.rawValue
    run.config.training.gradient_accumulation_steps = 3
    run.config.model.encoder_layers = 3
    return run
  }

  /// Steps with an evaluation after each.
  private func train(_ run: TinyRun) throws -> [StepMetrics] {
    var session = try run.session()
    var metrics: [StepMetrics] = []
    while session.nextStep <= Self.steps {
      metrics.append(try session.runStep())
      _ = try session.evaluate()
    }
    try session.commit()
    return metrics
  }

  /// Everything resident, the least budget, and steps between it and room for all layers; one
  /// backward sweep or two, boundaries in memory or beside the tapes on the disk.
  @Test(arguments: ["never", "automatic", "spill"], Clip.allCases)
  func whereActivationsAreChangesNoBit(_ recompute: String, _ clip: Clip) throws {
    let reference = try run("always", clip)
    let wanted = try train(reference)
    let least = try run(recompute, clip).leastBudget()
    for more in [nil, 0, 150_000, 900_000, 1_800_000] as [Int?] {
      var other = try run(recompute, clip)
      if let more {
        other.config.memory.budget = "\(least + more)"
        other.config.storage.paths = ["a", "b"].map { other.directory.path + "/" + $0 }
      }
      let found = try train(other)
      #expect(found.map(\.computed) == wanted.map(\.computed), "\(recompute) with \(more ?? -1)")
      #expect(try other.checksums() == reference.checksums())
    }
  }

  /// A decoder alone, gated experts, several choices a token.
  @Test(arguments: TinyPublished.families, ["never", "spill"])
  func everyFamilyComputesTheSame(
    _ family: (String, PublishedFamily), _ recompute: String
  ) throws {
    var tiny = try TinyPublished(family.0, family.1)
    tiny.config.memory.recompute = "always"
    let wanted = try tiny.train(to: 3)
    tiny.config.memory.recompute = recompute
    tiny.config.memory.spill = "never"
    tiny.config.memory.budget = "\(try tiny.config.leastBudget())"
    let found = try tiny.train(to: 3, in: RunDirectory(tiny.directory.path + "/other"))
    #expect(found.map(\.computed) == wanted.map(\.computed))
    #expect(found.contains { $0.spill_write_bytes > 0 } == (recompute == "spill"))
  }

  /// What goes to the disk is queries, keys, values, context and hidden units of every token, in whole
  /// pages, once there and less than once back: the last are still in memory.
  @Test func bytesAreThoseOfTheTapes() throws {
    var run = try run("spill")
    run.config.memory.spill = "never"
    run.config.memory.budget = "\(try run.leastBudget())"
    let metrics = try run.train(to: Self.steps)
    let model = run.config.model
    let unit = MemoryLayout<Float>.size
    for line in metrics {
      let most = line.tokens * (3 * 8 * model.d_model + 3 * model.ffn_dim) * unit
      #expect(line.spill_write_bytes > most / 3 && line.spill_write_bytes < most)
      #expect(line.spill_read_bytes <= line.spill_write_bytes)
      #expect(line.spill_read_bytes > line.spill_write_bytes / 2)
    }
  }

  // MARK: The plan

  /// Drives take what memory has no room for where they move it, beside all else, in the time of the
  /// arithmetic: with two threads, 74 operations a byte, from m = 26 x 74 / (8 - 8 x 74 / width) on.
  @Test func drivesTakeTapesWhereTheyHaveTime() {
    func drivesHaveTime(
      _ width: Int, _ tokens: Double, bytes: Double = 26, threads: Int = 2
    ) -> Bool {
      TapePlan.drivesHaveTime(
        width: width, expertTokens: tokens, otherBytes: bytes, threads: threads)
    }
    #expect(drivesHaveTime(296, 321) && !drivesHaveTime(296, 320))
    #expect(drivesHaveTime(1024, 260) && !drivesHaveTime(1024, 259))
    #expect(!drivesHaveTime(1024, 260, bytes: 27))
    #expect(drivesHaveTime(75, 20_000) && !drivesHaveTime(74, 1e9))
    #expect(drivesHaveTime(1024, 4600, threads: 16) && !drivesHaveTime(1024, 4500, threads: 16))
  }

  /// A run whose drives should have time for tapes that memory has no room for.
  private func runWithTime() throws -> TinyRun {
    var run = try run("automatic")
    run.config.model.d_model = 320
    run.config.model.num_experts = 2
    run.config.compute.threads = 2
    run.config.training.micro_batch_tokens = 600
    run.config.training.gradient_accumulation_steps = 2
    run.config.memory.spill = "never"
    run.config.memory.dense = "resident"
    run.config.memory.budget = "\(try run.leastBudget() + (20 << 20))"
    return run
  }

  /// Whether some wait in a scratch file.
  private func usesDrives(_ session: borrowing TrainingSession) -> Bool {
    session.notes.contains { $0.hasPrefix("activations:") && $0.contains("scratch file") }
  }

  /// The plan of a run follows that rule; boundaries on the drives and a paged dense part take their
  /// time, too.
  @Test(
    arguments: [
      ([], true), (["model.num_experts=8"], false), (["memory.spill=always"], false),
      (["memory.dense=paged"], false),
    ] as [([String], Bool)])
  func automaticUsesDrivesThatHaveTime(_ settings: [String], _ expected: Bool) throws {
    var run = try runWithTime()
    run.config = try RunConfig.parse(run.config.yaml(), name: "a run", overrides: settings)
    let session = try run.session()
    let usesDrives = usesDrives(session)
    #expect(usesDrives == expected)
    // Else memory would have had room for all.
    #expect(session.keptLayersShare < 1 || expected)
  }

  /// Where the drive has no room for them, a run that may computes again, and says why; one that may not
  /// is refused by the key that lets it.
  @Test func drivesWithoutRoomAreDoneWithout() throws {
    func session(_ run: TinyRun) throws -> TrainingSession {
      // The first file is the store's.
      let disk = SimulatedDisk(SimulatedMedium(seed: 1), seed: 2, faults: [.noSpace(create: 2)])
      return try TrainingSession(
        run.config, storePaths: run.storePaths, profiles: run.profiles, disk: disk)
    }
    var run = try runWithTime()
    var open = try session(run)
    let usesDrives = usesDrives(open)
    #expect(!usesDrives && open.keptLayersShare < 1)
    #expect(
      open.notes.contains {
        $0.contains("do not wait on the drives") && $0.contains("no space left")
      })
    let step = try open.runStep()
    #expect(step.spill_write_bytes == 0)

    run = try runWithTime()
    run.config.memory.recompute = "spill"
    let error = #expect(throws: StorageError.self) { _ = try session(run) }
    let text = "\(try #require(error))"
    #expect(text.contains("scratch.bin") && text.contains("with memory.recompute=always"))
  }

  /// A budget that holds all blocks and not much more is not spent on frames of activations.
  @Test func aRunThatFitsIntoMemoryStaysThere() throws {
    var run = try runWithTime()
    run.config.memory.recompute = "always"
    do {
      let plain = try run.session()
      let fixed = plain.plan.fixed.reduce(0) { $0 + $1.bytes }
      let blocks = plain.store.description.blocks * plain.store.geometry.recordBytes
      run.config.memory.budget = "\(fixed + blocks + 4096)"
    }
    run.config.memory.recompute = "automatic"
    let session = try run.session()
    let usesDrives = usesDrives(session)
    #expect(session.plan.isResident && !usesDrives)
  }

  /// The more memory, the more layers keep theirs there, from none to all.
  @Test(arguments: ["automatic", "spill"])
  func theBudgetDecidesHowManyAreKept(_ recompute: String) throws {
    var run = try run(recompute)
    run.config.memory.spill = "never"
    let least = try run.leastBudget()
    var kept: [Int] = []
    for more in [0, 500_000, 900_000, 1_700_000, 2_500_000, 64 << 20] {
      run.config.memory.budget = "\(least + more)"
      let session = try run.session()
      #expect(session.ledger.granted <= least + more)
      kept.append(
        session.ledger.grants.first { $0.name.hasPrefix("activations kept") }?.bytes ?? 0)
      let isMentioned = session.notes.contains { $0.contains("memory.recompute") }
      #expect(isMentioned == (more < 64 << 20))
      #expect(
        session.notes.contains { $0.contains("scratch file") }
          == (isMentioned && recompute == "spill"))
    }
    #expect(kept == kept.sorted() && kept.first == 0 && Set(kept).count > 2, "\(kept)")
  }

  /// Who wants all layers in memory is told what needs less.
  @Test(arguments: ["never", "spill"]) func aRefusalNamesTheWayOut(_ recompute: String) throws {
    var run = try run(recompute)
    run.config.memory.budget = "\(try run.leastBudget() - 1)"
    let refusal = #expect(throws: MemoryRefusal.self) { _ = try run.session() }
    #expect(try #require(refusal).savings.contains { $0.hasPrefix("memory.recompute=automatic") })
  }

  // MARK: Faults

  /// A transfer of a tape that fails ends the step with its name; the run goes on from the last
  /// generation to the same bits.
  @Test func aFailureOfATapeLosesNothing() throws {
    let wanted = try run("always").train(to: Self.steps)
    var run = try run("spill")
    run.config.memory.spill = "never"
    run.config.memory.budget = "\(try run.leastBudget())"
    let (found, failures) = try run.trainThroughFaults(to: Self.steps)
    #expect(!failures.isEmpty)
    #expect(found.map(\.?.computed) == wanted.map(\.computed))
  }
}

import Base
import DirectIO
import Foundation
import Storage
import TestSupport
import Testing
import Training

/// Boundary activations on the disk: where they are changes no bit, and what they are does.
@Suite struct SpillTests {
  private static let steps = 3

  enum Clip: String, CaseIterable { case block, global }
  enum Boundaries: String, CaseIterable { case fp32, bf16 }

  private func run(_ boundaries: Boundaries, _ clip: Clip) throws -> TinyRun {
    var run = try TinyRun()
    run.config.training.boundaries = boundaries.rawValue
    run.config.training.clip = clip.rawValue
    run.config.training.gradient_accumulation_steps = 3
    run.config.model.encoder_layers = 3
    return run
  }

  /// An encoder and a decoder, three micro-batches: resident or paged under the least budget, on one
  /// path or two, with one backward sweep or, for the global norm, two; evaluated on the way.
  @Test(arguments: Boundaries.allCases, Clip.allCases)
  func whereTheyAreChangesNoBit(_ boundaries: Boundaries, _ clip: Clip) throws {
    var reference = try run(boundaries, clip)
    reference.config.memory.spill = "never"
    let wanted = try reference.train(to: Self.steps)
    #expect(wanted.allSatisfy { $0.spill_read_bytes == 0 && $0.spill_write_bytes == 0 })

    for isResident in [false, true] {
      var spilled = try run(boundaries, clip)
      spilled.config.memory.spill = "always"
      spilled.config.memory.resident = isResident
      if !isResident {
        spilled.config.memory.budget = "\(try spilled.leastBudget())"
        spilled.config.storage.paths = ["a", "b"].map { spilled.directory.path + "/" + $0 }
      }
      var session = try spilled.session()
      var found: [StepMetrics] = []
      while session.nextStep <= Self.steps {
        found.append(try session.runStep())
        _ = try session.evaluate()
      }
      try session.commit()
      #expect(found.map(\.computed) == wanted.map(\.computed))
      #expect(try spilled.checksums() == reference.checksums())
      // Two backward sweeps read what one forward sweep wrote; what the frames still have is not.
      for line in found {
        #expect(line.spill_write_bytes > 0)
        let sweeps = clip == .global ? 2 : 1
        #expect(line.spill_read_bytes <= sweeps * line.spill_write_bytes)
        #expect(line.spill_read_bytes >= sweeps * line.spill_write_bytes / 2)
      }
    }
  }

  /// A decoder alone and the other families, clipped by the global norm.
  @Test(arguments: TinyPublished.families, Boundaries.allCases)
  func everyFamilyComputesTheSame(
    _ family: (String, PublishedFamily), _ boundaries: Boundaries
  ) throws {
    var tiny = try TinyPublished(family.0, family.1)
    tiny.config.training.boundaries = boundaries.rawValue
    tiny.config.memory.spill = "never"
    let wanted = try tiny.train(to: 3)
    tiny.config.memory.spill = "always"
    tiny.config.memory.budget = "\(try tiny.config.leastBudget())"
    let found = try tiny.train(to: 3, in: RunDirectory(tiny.directory.path + "/spilled"))
    #expect(found.map(\.computed) == wanted.map(\.computed))
    #expect(found.allSatisfy { $0.spill_write_bytes > 0 })
  }

  /// What is written is the boundaries and nothing else: two bytes an element or four, whole pages.
  @Test(arguments: Boundaries.allCases) func bytesAreThoseOfTheBoundaries(
    _ boundaries: Boundaries
  ) throws {
    var run = try run(boundaries, .block)
    run.config.memory.spill = "always"
    let metrics = try run.train(to: Self.steps)
    // 2 sublayers in each of 3 encoder layers, 3 in each of 2 decoder layers: 6 for every token.
    let row = run.config.model.d_model * (boundaries == .fp32 ? 4 : 2)
    for line in metrics {
      let filling = line.spill_write_bytes - 6 * line.tokens * row
      #expect(filling >= 0 && filling < 12 * 4096)
    }
  }

  /// The two precisions are two runs, and both learn.
  @Test func roundedBoundariesAreAnotherRunThatLearnsAsMuch() throws {
    var losses: [Double] = []
    for boundaries in Boundaries.allCases {
      var run = try TinyRun()
      run.config.training.boundaries = boundaries.rawValue
      run.config.training.learning_rate = 1e-2
      let metrics = try run.train(to: 30)
      losses.append(metrics.suffix(5).reduce(0) { $0 + $1.loss } / 5)
      #expect(losses.last! < metrics[0].loss - 1)
      run.config.training.boundaries = boundaries == .fp32 ? "bf16" : "fp32"
      let error = #expect(throws: StorageError.self) { _ = try run.session() }
      #expect(error?.exitCode == 65)
    }
    #expect(losses[0] != losses[1] && abs(losses[0] - losses[1]) < 0.05 * losses[0])
  }

  // MARK: The plan

  /// The disk is taken when the run does not fit otherwise, and only then.
  @Test(arguments: Boundaries.allCases) func automaticMeansWhenItDoesNotFit(
    _ boundaries: Boundaries
  ) throws {
    var run = try run(boundaries, .block)
    func least(_ spill: String) throws -> Int {
      run.config.memory.spill = spill
      return try run.leastBudget()
    }
    let (always, never, automatic) = (
      try least("always"), try least("never"), try least("automatic")
    )
    #expect(always < never && automatic == always)
    for (budget, isSpilled) in [(never, false), (never - 1, true), (always, true)] {
      run.config.memory.budget = "\(budget)"
      let session = try run.session()
      #expect(session.notes.contains { $0.contains("scratch file") } == isSpilled)
      #expect(session.ledger.granted <= budget)
      let frames = session.ledger.grants.filter { $0.name == "boundary frames" }
      #expect(frames.count == (isSpilled || boundaries == .bf16 ? 1 : 0))
    }
  }

  /// A refusal names the settings that need less, and those alone.
  @Test func aRefusalSaysWhatNeedsLess() throws {
    var run = try run(.fp32, .block)
    func savings(_ spill: String, _ boundaries: Boundaries) throws -> [String] {
      run.config.memory.spill = spill
      run.config.memory.budget = "1MiB"
      run.config.training.boundaries = boundaries.rawValue
      let refusal = #expect(throws: MemoryRefusal.self) { _ = try run.session() }
      return try #require(refusal).savings.map { String($0.prefix { $0 != " " }) }
    }
    let (spill, rounded) = ("memory.spill=always", "training.boundaries=bf16")
    #expect(try savings("never", .fp32) == [spill, rounded])
    #expect(try savings("never", .bf16) == [spill])
    #expect(try savings("automatic", .fp32) == [rounded])
    #expect(try savings("always", .bf16) == [])
  }

  // MARK: Faults

  /// A transfer of the scratch that fails ends the step with its name; the last generation is whole,
  /// and the run goes on from there to the same bits.
  @Test func aFailureOfTheScratchLosesNothing() throws {
    var reference = try run(.fp32, .block)
    reference.config.memory.spill = "always"
    let wanted = try reference.train(to: Self.steps)

    var run = try run(.fp32, .block)
    run.config.memory.spill = "always"
    let (found, failures) = try run.trainThroughFaults(to: Self.steps)
    #expect(!failures.isEmpty && failures.allSatisfy { $0.path.hasSuffix("/scratch.bin") })
    #expect(found.map(\.?.computed) == wanted.map(\.computed))
  }
}

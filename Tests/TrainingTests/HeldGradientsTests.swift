import Base
import DirectIO
import Simulation
import Storage
import TestSupport
import Testing
import Training

/// Whether an expert is updated in the backward sweep or in the next forward sweep, nothing else changes.
@Suite struct HeldGradientsTests {
  private static let steps = 5

  private func run(_ change: (inout RunConfig) -> Void = { _ in }) throws -> TinyRun {
    var run = try TinyRun()
    run.config.memory.held_gradients = "0"
    run.config.memory.dense = "resident"
    change(&run.config)
    run.config.memory.budget = "\(try run.leastBudget())"
    return run
  }

  private func holding(_ gradients: Int, like run: TinyRun) throws -> TinyRun {
    var other = try TinyRun()
    other.config = run.config
    // A slice of an expert: 32 hidden units of width 32, twice.
    other.config.memory.held_gradients = "\(gradients * 4 * (2 * 32 * 32 + 64))"
    other.config.memory.budget = "\(try other.leastBudget())"
    return other
  }

  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    var change: @Sendable (inout RunConfig) -> Void = { _ in }
  }

  static let cases = [
    Case(testDescription: "as they are"),
    Case(testDescription: "clipped all together") { $0.training.clip = "global" },
    Case(testDescription: "weights whole, moments in bytes") {
      $0.model.weights = "fp32"
      $0.training.states = "int8"
    },
    Case(testDescription: "masters rounded at random") { $0.training.master = "bf16" },
    Case(testDescription: "experts without tokens decay") { $0.training.untouched = "decay" },
    Case(testDescription: "both of these") {
      $0.training.clip = "global"
      $0.training.untouched = "decay"
    },
    Case(testDescription: "the dense part paged") { $0.memory.dense = "paged" },
    Case(testDescription: "boundaries and activations on the disk") {
      $0.memory.spill = "always"
      $0.memory.recompute = "spill"
    },
  ]

  /// Room for a few of a layer's experts, or for all of the model's.
  @Test(arguments: cases, [1, 7, 100])
  func noBitChanges(_ variant: Case, _ gradients: Int) throws {
    let reference = try run(variant.change)
    let wanted = try reference.train(to: Self.steps)
    let other = try holding(gradients, like: reference)
    let found = try other.train(to: Self.steps)
    #expect(found.map(\.computed) == wanted.map(\.computed))
    #expect(try other.checksums() == reference.checksums())
    // The first step leaves some to the second.
    #expect(found[0].write_bytes < wanted[0].write_bytes)
  }

  /// Where all gradients are held the backward sweep writes nothing, the next forward sweep does, and the
  /// last one's are updated for the commit.
  @Test func writesComeAStepLater() throws {
    let reference = try run()
    let wanted = try reference.train(to: Self.steps)
    let other = try holding(100, like: reference)
    let found = try other.train(to: Self.steps)
    #expect([0] + wanted.map(\.write_bytes).dropLast() == found.map(\.write_bytes))
    #expect(wanted.allSatisfy { $0.write_bytes > 0 })
  }

  /// Goal: bytes that come wrong once, for an update in the forward sweep or before a commit, are read
  /// again, and what was made of them is made again.
  @Test func wrongBytesAreReadAgain() throws {
    let run = try holding(7, like: self.run())
    func train(_ name: String, _ faults: [Fault]) throws -> (losses: [Double], flips: Int) {
      let disk = SimulatedDisk(SimulatedMedium(seed: 3), seed: 5, faults: faults)
      var session = try TrainingSession(
        run.config, storePaths: ["\(run.directory.path)/\(name)"], profiles: run.profiles,
        disk: disk)
      var losses: [Double] = []
      for step in 1...4 {
        losses.append(try session.runStep().loss)
        if step == 3 { try session.commit() }
      }
      return (losses, disk.faultsSoFar.count)
    }
    let wanted = try train("right", []).losses
    var flips = 0
    for read in stride(from: 1, through: 150, by: 4) {
      let found = try train("wrong-\(read)", [.bitFlip(read: read)])
      #expect(found.losses == wanted, "read \(read)")
      flips += found.flips
    }
    #expect(flips >= 20)
  }

  /// An evaluation between two steps sees the newest weights.
  @Test func evaluationsSeeAllUpdates() throws {
    let reference = try run()
    let other = try holding(100, like: reference)
    var (wanted, found): ([Double], [Double]) = ([], [])
    do {
      var session = try reference.session()
      for _ in 0..<Self.steps {
        wanted += [try session.runStep().loss, try session.evaluate().loss]
      }
    }
    var session = try other.session()
    for _ in 0..<Self.steps {
      found += [try session.runStep().loss, try session.evaluate().loss]
    }
    #expect(found == wanted)
  }

  /// Steps after the last commit are lost with the gradients that were held, and done again.
  @Test func whatWasHeldIsComputedAgain() throws {
    let reference = try run()
    let wanted = try reference.train(to: Self.steps)
    let other = try holding(7, like: reference)
    do {
      var session = try other.session()
      _ = try session.runStep()
      try session.commit()
      _ = try session.runStep()
      _ = try session.runStep()
    }
    let found = try other.train(to: Self.steps)
    #expect(found.map(\.step) == Array(2...Self.steps))
    #expect(found.map(\.computed) == wanted.dropFirst().map(\.computed))
    #expect(try other.checksums() == reference.checksums())
  }

  /// Left to the plan: none where the least that paging needs takes all memory, some where there is
  /// more of it, none where all blocks stay in memory.
  @Test func thePlanHoldsWhatPagingCanSpare() throws {
    var run = try TinyRun()
    // What is above the least would bring these into memory first.
    (run.config.memory.dense, run.config.memory.spill) = ("resident", "never")
    let least = try run.leastBudget()
    let shares = try [0, 500_000, 1 << 30].map { more in
      run.config.memory.budget = "\(least + more)"
      return try run.session().ledger.grants
        .first { $0.name.hasPrefix("gradients held") }?.bytes ?? 0
    }
    #expect(shares[0] == 0 && shares[1] > 0 && shares[2] == 0)
  }

  /// The seconds of a held update are those of updates, whichever sweep makes it.
  @Test func partsAddUpToTheStep() throws {
    let held = try holding(100, like: try run())
    for line in try held.train(to: Self.steps) {
      let parts =
        line.forward_s + line.backward_s + line.update_s + line.stall_s + line.router_stall_s
      #expect(abs(parts - line.step_s) < 1e-6 && line.forward_s > 0 && line.update_s > 0)
    }
  }

  /// A size for which the budget has no room is refused with what would do.
  @Test func aRoomThatDoesNotFitIsRefused() throws {
    var run = try run()
    run.config.memory.spill = "never"
    run.config.memory.budget = "\(try run.leastBudget())"
    run.config.memory.held_gradients = "100KiB"
    let refusal = #expect(throws: MemoryRefusal.self) { _ = try run.session() }
    #expect(try #require(refusal).savings.first == "memory.held_gradients=automatic")
  }

  @Test func aRoomThatIsNoSizeIsRefused() throws {
    var run = try TinyRun()
    run.config.memory.held_gradients = "a few"
    #expect(throws: ConfigError.self) { try run.config.validate() }
  }
}

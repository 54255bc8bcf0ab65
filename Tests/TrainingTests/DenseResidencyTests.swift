import Base
import DirectIO
import Simulation
import Storage
import TestSupport
import Testing
import Training

/// Attention, norms, gates and embeddings that come and go layer by layer. That they compute the same
/// is a matter of `SameBitsTests`.
@Suite struct DenseResidencyTests {
  private func run(_ dense: String) throws -> TinyRun {
    var run = try TinyRun()
    run.config.memory.dense = dense
    run.config.memory.spill = "never"
    return run
  }

  /// Each block is read as halves in both sweeps and whole for its update, less what is still in
  /// memory, and written once a step.
  @Test func everyBlockIsWrittenOnceAStep() throws {
    var run = try run("paged")
    run.config.memory.budget = "\(try run.leastBudget())"
    let metrics = try run.train(to: 4)
    let store = try run.reader()
    let (geometry, dense) = (store.geometry, store.writtenBlocks.count { $0.kind == .dense })
    #expect(dense > 4)
    for line in metrics {
      // Experts of two slices.
      let experts = 2 * line.experts_touched
      #expect(line.write_bytes == (experts + dense) * geometry.recordBytes)
      let halves = geometry.planeBytes(.hi) + geometry.planeBytes(.lo)
      let most =
        experts * (geometry.recordBytes + geometry.planeBytes(.hi))
        + dense * (geometry.recordBytes + 2 * halves)
      #expect(line.read_bytes <= most)
      #expect(line.read_bytes > dense * halves)
    }
  }

  /// Goal: bytes that come wrong once are read again, by a sweep and by an update, and what was made of them
  /// is made again: the bits are those of a drive that is always right.
  @Test(arguments: ["fp32", "int8"]) func wrongBytesAreReadAgain(states: String) throws {
    var run = try run("paged")
    run.config.training.states = states
    run.config.memory.budget = "\(try run.leastBudget())"
    func train(_ name: String, _ faults: [Fault]) throws -> (losses: [Double], flips: Int) {
      let disk = SimulatedDisk(SimulatedMedium(seed: 3), seed: 5, faults: faults)
      var session = try TrainingSession(
        run.config, storePaths: ["\(run.directory.path)/\(name)"], profiles: run.profiles,
        disk: disk)
      let losses = try (0..<3).map { _ in try session.runStep().loss }
      return (losses, disk.faultsSoFar.count)
    }
    let wanted = try train("right", []).losses
    var flips = 0
    for read in stride(from: 1, through: 220, by: 7) {
      let found = try train("wrong-\(read)", [.bitFlip(read: read)])
      #expect(found.losses == wanted, "read \(read)")
      flips += found.flips
    }
    #expect(flips >= 20)
  }

  @Test func itNeedsLessMemoryAndIsPagedOnlyThen() throws {
    let (whole, paged) = (try run("resident").leastBudget(), try run("paged").leastBudget())
    #expect(paged < whole)
    #expect(try run("automatic").leastBudget() <= paged)
    // A step of the same run, just large enough for all of it, and one byte less.
    for (budget, isPaged) in [(whole, false), (whole - 1, true)] {
      var run = try run("automatic")
      run.config.memory.budget = "\(budget)"
      let metrics = try run.train(to: 2)
      let store = try run.reader()
      let experts = 2 * metrics[1].experts_touched * store.geometry.recordBytes
      #expect((metrics[1].write_bytes > experts) == isPaged)
    }
  }
}

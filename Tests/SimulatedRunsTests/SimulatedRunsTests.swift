import Corpus
import SimulatedRuns
import TestSupport
import Testing

@Suite struct SimulatedRunsTests {
  private static func simulator() throws -> RunSimulator {
    try RunSimulator(corpus: Fixture.shared.corpus.directory)
  }

  /// Whatever happens to its processes, a run computes the bits of one that nothing disturbed.
  /// Many more seeds: `tools/simulate --runs 2000`.
  @Test func crashedRunsComputeTheSame() throws {
    var simulator = try Self.simulator()
    var sum = Tally()
    for seed in 1...50 {
      do {
        sum += try simulator.simulate(seed: UInt64(seed)).tally
      } catch {
        Issue.record("seed \(seed): \(error); replay with tools/simulate \(seed)")
      }
    }
    // What never happened was not survived.
    #expect(sum.runs == 50 && sum.processes > 100)
    #expect(sum.ends_while_opening > 2 && sum.ends_in_steps > 2 && sum.ends_in_commits > 10)
    #expect(sum.power_failures > 10 && sum.kills > 5 && sum.steps_again > 20)
    #expect(sum.disk_errors > 0 && sum.database_errors > 0 && sum.database_full > 0)
    #expect(sum.damage_found > 0 && sum.transient_errors > 0 && sum.bit_flips > 0)
  }

  /// The judgement can fail: a disk that only says it has synced is found out.
  @Test func missingSyncsAreNoticed() throws {
    var simulator = try Self.simulator()
    var found = 0
    for seed in 1...12 {
      do {
        _ = try simulator.simulate(seed: UInt64(seed), spoil: { ForgetfulDisk($0) })
      } catch is SimulationFailure {
        found += 1
      }
    }
    #expect(found > 3)
  }

  /// A seed that fails can be looked at again: it is the same story to the last event.
  @Test func seedsReplay() throws {
    var digests: Set<UInt64> = []
    for seed in 60..<66 {
      var (one, other) = (try Self.simulator(), try Self.simulator())
      let digest = try one.simulate(seed: UInt64(seed)).digest
      #expect(try other.simulate(seed: UInt64(seed)).digest == digest)
      digests.insert(digest)
    }
    #expect(digests.count == 6)
  }
}

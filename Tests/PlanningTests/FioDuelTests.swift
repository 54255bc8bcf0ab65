import DirectIO
import Foundation
import Planning
import Testing

@Suite struct FioDuelTests {
  private static let isInstalled = (ProcessInfo.processInfo.environment["PATH"] ?? "")
    .split(separator: ":").contains { FileManager.default.isExecutableFile(atPath: "\($0)/fio") }

  private func duel(_ directory: String, program: String = "fio") -> FioDuel {
    var duel = FioDuel(directory: directory, program: program) {
      try? JSONDecoder().decode(FioOutput.self, from: Data($0.utf8))
    }
    duel.fileBytes = 8 << 20
    duel.requestBytes = 256 << 10
    duel.queueDepth = 4
    duel.pairs = 2
    duel.secondsPerRun = 0.3
    return duel
  }

  /// fio opens the nameless file, and both sides have their figures.
  @Test(.enabled(if: isInstalled, "fio is not installed"))
  func bothSidesMove() throws {
    let directory = ScratchDirectory()
    var duel = self.duel(directory.path)
    duel.engine.hasThread = true
    let report = try duel.run()
    #expect(directory.remove(), "the scratch file is gone")
    #expect(report.hasIOThread == (report.engine != "threads"))
    #expect(report.results.map(\.name) == ["read", "write", "mix"])
    #expect(report.fioVersion.hasPrefix("fio-") && report.footprintBytes == 1 << 20)
    for result in report.results {
      #expect(result.ours.count == 2 && result.theirs.count == 2)
      #expect((result.ours + result.theirs).allSatisfy { $0.gbps > 0 })
      #expect(result.ours.allSatisfy { $0.cpuSecondsPerGB > 0 })
    }
  }

  @Test func ratiosAreMediansOfPairs() {
    func score(_ gbps: Double, _ cpu: Double) -> FioDuel.Score {
      FioDuel.Score(gbps: gbps, cpuSecondsPerGB: cpu)
    }
    let result = FioDuel.Result(
      name: "read", writeShare: 0, ours: [score(2, 1), score(3, 1), score(30, 9)],
      theirs: [score(1, 2), score(1, 4), score(3, 3)])
    #expect(result.rateRatio == 3 && result.cpuRatio == 0.5)
    let uncounted = FioDuel.Result(
      name: "read", writeShare: 0, ours: [score(2, 1), score(2, 1)],
      theirs: [score(1, 0), score(1, 4)])
    #expect(uncounted.cpuRatio == 0.25)
  }

  @Test func aMissingProgramIsNamedWithItsRemedy() throws {
    let directory = ScratchDirectory()
    let error = #expect(throws: ProbeError.self) {
      try duel(directory.path, program: "pagoda-no-such-fio").run()
    }
    #expect(error?.description.contains("apt-get install fio") == true)
    #expect(directory.remove())
  }

  /// A program that is not fio: what it said is shown.
  @Test func aFailureShowsCommandAndOutput() throws {
    let directory = ScratchDirectory()
    let error = #expect(throws: ProbeError.self) {
      try duel(directory.path, program: "echo").run()
    }
    #expect(error?.description.contains("`echo --name=pagoda") == true)
    #expect(error?.description.contains("failed: --name=pagoda") == true)
    #expect(directory.remove(), "the scratch file is gone")
  }
}

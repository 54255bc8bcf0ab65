import DirectIO
import Planning
import Testing

@Suite struct SwapBenchmarkTests {
  private func tiny(_ directories: [String]) -> SwapBenchmark {
    var benchmark = SwapBenchmark(directories: directories)
    benchmark.fileBytes = 4 << 20
    benchmark.seconds = 0.1
    benchmark.requestBytes = 64 << 10
    benchmark.queueDepth = 8
    benchmark.recordBytes = 160 << 10
    benchmark.rounds = 2
    return benchmark
  }

  /// Tiny, so that the benchmark cannot rot: every load runs, and what was written comes back.
  @Test(arguments: [EnginePreference.automatic, .threads])
  func everyLoadIsMeasured(_ preference: EnginePreference) throws {
    let directory = ScratchDirectory()
    var benchmark = tiny([directory.path])
    benchmark.engine = DiskSettings(engine: preference)
    let report = try benchmark.run()
    #expect(directory.remove(), "the scratch file is gone")

    #expect(
      report.jobs.prefix(7).map(\.name) == [
        "sequential-read", "sequential-write", "records-read", "records-mix-25", "records-mix-50",
        "records-mix-75", "records-write",
      ])
    for job in report.jobs {
      #expect(0 < job.rate.low && job.rate.low <= job.rate.median)
      #expect(job.rate.median <= job.rate.high)
      #expect(job.cpuSecondsPerGB > 0)
      let all = job.read.bytes + job.write.bytes
      let share = Double(job.write.bytes) / Double(all)
      // A round that ends early ends on a read; pieces of records differ in length.
      #expect(abs(share - job.writeShare) < 0.2, "\(job.name): \(share)")
      #expect((job.read.latency == nil) == (job.read.bytes == 0))
      #expect((job.write.latency == nil) == (job.write.bytes == 0))
    }
    let path = try #require(report.paths.first)
    #expect(report.paths.count == 1 && report.ceilings.count == 1)
    #expect(path.scratchBytes == 4 << 20)
    #expect(path.pagesChecked == 2 * 16 * 16, "two sets of 16 pieces of 16 pages")
    #expect(path.checksum != 0)
    #expect(path.firstWriteGbps > 0 && (path.rewriteGbps ?? 0) > 0)
    #expect(path.isDirect == path.notes.allSatisfy { !$0.contains("O_DIRECT") })
    #expect(path.isHostCache == path.notes.contains { $0.contains("the host's cache") })
    #expect(path.engine == (preference == .threads ? "threads" : path.engine))
    #expect(report.footprintBytes == 8 * 64 << 10)
  }

  /// An eighth of the file is neither whole requests nor whole pages.
  @Test func requestsNeedNotDivideTheFileEvenly() throws {
    let directory = ScratchDirectory()
    var benchmark = tiny([directory.path])
    benchmark.requestBytes = 12 << 10
    benchmark.recordBytes = 12 << 10
    benchmark.fileBytes = 25 * 12 << 10
    #expect(benchmark.eighth(of: benchmark.fileBytes) == 3 * 12 << 10)
    #expect(benchmark.eighth(of: 24 << 10) == 12 << 10)
    let path = try #require(try benchmark.run().paths.first)
    #expect(directory.remove(), "the scratch file is gone")
    #expect(path.scratchBytes == 25 * 12 << 10)
    #expect(path.oldestReadGbps > 0 && path.newestReadGbps > 0)
  }

  /// As in training; threads go on by themselves.
  @Test(arguments: [EnginePreference.automatic, .threads])
  func aThreadOfItsOwnDrivesTheRing(_ preference: EnginePreference) throws {
    let directory = ScratchDirectory()
    var benchmark = tiny([directory.path])
    benchmark.engine = DiskSettings(engine: preference)
    #expect(try benchmark.run().paths.allSatisfy { !$0.hasIOThread })
    benchmark.engine.hasThread = true
    let report = try benchmark.run()
    #expect(directory.remove(), "the scratch file is gone")
    let path = try #require(report.paths.first)
    #expect(path.hasIOThread == (path.engine != "threads") && path.pagesChecked > 0)
    #expect(report.jobs.allSatisfy { $0.rate.low > 0 && $0.cpuSecondsPerGB > 0 })
  }

  @Test func buffersBeyondTheMemoryAreRefusedBeforeAnythingIsMade() throws {
    let directory = ScratchDirectory()
    for directories in [[directory.path], [directory.path, "/tmp"]] {
      var benchmark = tiny(directories)
      for bytes in [1 << 50, 1 << 62] {
        benchmark.footprintBytes = bytes
        let error = try #require(#expect(throws: ProbeError.self) { try benchmark.run() })
        guard case .noMemory(let needed, let available) = error else {
          Issue.record("\(error)")
          return
        }
        #expect(needed >= bytes && available < needed)
        #expect(error.description.contains("give a smaller --footprint, --depth or"))
      }
    }
    #expect(directory.remove())
  }

  @Test func severalPathsAreMeasuredAloneAndTogether() throws {
    let directories = [ScratchDirectory(), ScratchDirectory()]
    var benchmark = tiny(directories.map(\.path))
    benchmark.pattern = .mix
    benchmark.layouts = .records
    benchmark.writeShare = 0.3
    let report = try benchmark.run()
    #expect(directories.allSatisfy { $0.remove() })
    let paths = directories.map(\.path)
    let groups = report.jobs.map(\.paths)
    #expect(groups.contains([paths[0]]) && groups.contains([paths[1]]) && groups.last == paths)
    #expect(report.jobs.allSatisfy { $0.name == "records-mix-30" && $0.recordBytes == 160 << 10 })
    #expect(report.paths.map(\.directory) == paths && report.ceilings.isEmpty)
    #expect(report.paths.allSatisfy { $0.rewriteGbps == nil && $0.pagesChecked > 0 })
  }

  @Test func patternsAndLayoutsChooseLoads() {
    var benchmark = SwapBenchmark(directories: ["."])
    benchmark.pattern = .read
    #expect(benchmark.loads.map(\.name) == ["sequential-read", "records-read"])
    benchmark.layouts = .sequential
    #expect(benchmark.loads.map(\.load.layout) == [.sequential])
    benchmark.pattern = .mix
    benchmark.writeShare = 1
    benchmark.layouts = .records
    #expect(benchmark.loads.map(\.name) == ["records-write"])
    benchmark.footprintBytes = 100 << 20 | 1
    #expect(benchmark.footprint == 101 << 20)
    benchmark.footprintBytes = 1
    #expect(benchmark.footprint == 32 << 20)
  }

  @Test func aMissingDirectoryIsNamed() {
    let benchmark = tiny(["/tmp/pagoda-no-such-place"])
    let error = #expect(throws: ProbeError.self) { try benchmark.run() }
    #expect(error?.description.contains("/tmp/pagoda-no-such-place") == true)
    #expect(error?.description.contains("not a directory") == true)
  }

  @Test func missingSpaceIsToldInNumbers() throws {
    let directory = ScratchDirectory()
    var benchmark = tiny([directory.path])
    benchmark.fileBytes = 1 << 50
    let error = try #require(#expect(throws: ProbeError.self) { try benchmark.run() })
    guard case .noSpace(_, let needed, let free) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(needed == 1 << 50 && free < needed)
    #expect(directory.remove())
  }

  @Test func ratesAreMedians() {
    let odd = Rate([3, 1, 2])
    #expect(odd.median == 2 && odd.low == 1 && odd.high == 3 && odd.samples == [3, 1, 2])
    #expect(Rate([4, 1, 2, 3]).median == 2.5)
  }
}

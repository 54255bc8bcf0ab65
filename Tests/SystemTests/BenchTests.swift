import Foundation
import Testing

/// `pagoda bench swap` as a process: its JSON, its refusals, and that it leaves nothing behind.
@Suite struct BenchTests {
  let workplace: Workplace
  /// An empty directory.
  let drive: String

  init() throws {
    workplace = try Workplace()
    drive = workplace.path("drive")
    try FileManager.default.createDirectory(atPath: drive, withIntermediateDirectories: true)
  }

  private func bench(_ more: String...) throws -> Ending {
    try Pagoda.run(["bench", "swap", "--path", drive, "--size", "16MiB"] + more)
  }

  private func object(_ ending: Ending) throws -> [String: Any] {
    let any = try JSONSerialization.jsonObject(with: Data(ending.output.utf8))
    return try #require(any as? [String: Any])
  }

  private func expectNothingLeft(sourceLocation: SourceLocation = #_sourceLocation) throws {
    let left = try FileManager.default.contentsOfDirectory(atPath: drive)
    #expect(left.isEmpty, sourceLocation: sourceLocation)
  }

  /// The keys that fio's readers look for.
  @Test func loadsComeInTheShapeOfFio() throws {
    let ending = try bench("--seconds", "0.5", "--record", "1MiB", "--json")
    ending.expect(0, "measuring")
    let fields = try object(ending)
    let jobs = try #require(fields["jobs"] as? [[String: Any]])
    let names = jobs.prefix(7).map { $0["jobname"] as? String }
    #expect(names.first == "sequential-read" && names.last == "records-write")
    for job in jobs {
      let options = try #require(job["job options"] as? [String: String])
      #expect(options["bs"] == "1048576" && options["iodepth"] == "32")
      #expect(job["usr_cpu"] is Double && job["sys_cpu"] is Double)
      let own = try #require(job["pagoda"] as? [String: Any])
      let share = try #require(own["write_share"] as? Double)
      #expect(own["cpu_seconds_per_gb"] is Double)
      for (key, isBusy) in [("read", share < 1), ("write", share > 0)] {
        let side = try #require(job[key] as? [String: Any])
        #expect((try #require(side["bw_bytes"] as? Int) > 0) == isBusy)
        #expect((try #require(side["io_bytes"] as? Int) > 0) == isBusy)
        #expect((try #require(side["runtime"] as? Int) > 0) == isBusy)
        #expect(side["bw"] is Int && side["iops"] is Double)
        let latency = try #require(side["clat_ns"] as? [String: Any])
        #expect(Set(["min", "max", "mean", "stddev"]).isSubset(of: latency.keys))
        let percentiles = try #require(latency["percentile"] as? [String: Int])
        #expect(percentiles.isEmpty != isBusy)
        if isBusy { #expect(percentiles["50.000000"]! <= percentiles["99.000000"]!) }
      }
    }
    let own = try #require(fields["pagoda"] as? [String: Any])
    let path = try #require((own["paths"] as? [[String: Any]])?.first)
    #expect(path["is_host_cache"] is Bool && path["first_write_gbps"] is Double)
    #expect(try #require(path["pages_checked"] as? Int) > 0)
    try expectNothingLeft()
  }

  @Test func textHasARowForEachLoadAndTheCeiling() throws {
    let ending = try bench("--seconds", "0.5", "--record", "1MiB")
    ending.expect(0)
    for words in ["sequential-write", "records-mix-75", "CPU s/GB", "ceiling: 8 threads", "p99.9"] {
      #expect(ending.output.contains(words), "\(words)")
    }
  }

  @Test func aSweepDrawsMapsAndRecommends() throws {
    let sweep = ["--sweep", "--seconds", "0.3", "--request-size", "64KiB,1MiB", "--depth", "1,4"]
    let arguments = ["bench", "swap", "--path", drive, "--size", "16MiB"] + sweep
    let text = try Pagoda.run(arguments)
    text.expect(0)
    let lines = text.output.split(separator: "\n")
    for title in ["read", "write", "half reads, half writes"] {
      #expect(lines.contains { $0 == title })
    }
    #expect(lines.count { $0.hasPrefix("64 KiB") } == 3)
    #expect(lines.last?.hasPrefix("+ recommended") == true)
    #expect(text.output.count { $0 == "*" } == 4, "the best in each map, and its line")
    #expect(!text.output.contains("\u{1B}"), "no colours where nobody looks")

    let fields = try object(try Pagoda.run(arguments + ["--json"]))
    let own = try #require(fields["pagoda"] as? [String: Any])
    let report = try #require((own["sweep"] as? [[String: Any]])?.first)
    #expect((report["cells"] as? [[String: Any]])?.count == 4)
    #expect(report["recommended"] is [String: Any])
    try expectNothingLeft()
  }

  /// The file has no name: nothing stays where nobody can clean up.
  @Test func aKilledProcessLeavesNothing() throws {
    let process = try Pagoda.start([
      "bench", "swap", "--path", drive, "--size", "64MiB", "--seconds", "60",
    ])
    try waitUntil { process.errorsSoFar.contains("measuring") }
    #expect(!process.hasEnded(within: 0.5))
    process.signal(SIGKILL)
    #expect(try process.wait().exitCode == nil)
    try expectNothingLeft()
  }

  @Test func aMissingDirectoryAndAFullOneAreRefused() throws {
    try Pagoda.run(["bench", "swap", "--path", workplace.path("nowhere")]).expect(
      66, "nowhere: it is not a directory")
    try Pagoda.run(["bench", "swap", "--path", drive, "--size", "1000000TiB"]).expect(
      73, "are free; give a smaller --size")
    try expectNothingLeft()
  }

  @Test func usageErrorsShowTheUsage() throws {
    let wrong = [
      ["--seconds", "0"], ["--seconds", "inf"], ["--seconds", "1e300"], ["--request-size", "1000"],
      ["--request-size", ","], ["--depth", "0"],
      ["--depth", "1,2"], ["--write-share", "1.5"], ["--pattern", "sideways"], ["--pairs", "0"],
      ["--record", "5000"], ["--sweep", "--fio"], ["--fio", "--footprint", "1GiB"],
      ["--engine", "steam"],
    ]
    for flags in wrong {
      let ending = try Pagoda.run(["bench", "swap"] + flags)
      ending.expect(64, "Usage: pagoda bench swap")
      #expect(ending.output.isEmpty)
    }
  }

  /// What would be ignored, or never end, is refused by a sentence.
  @Test(arguments: [
    ("--write-share 0.3", "--write-share goes with --pattern mix"),
    ("--pattern read --write-share 0.3", "--write-share goes with --pattern mix"),
    ("--layout sequential --record 1MiB", "--record does not go with --layout sequential"),
    ("--pairs 3", "--pairs goes with --fio"),
    ("--sweep --pairs 3", "--pairs goes with --fio"),
    ("--sweep --pattern mix", "--pattern does not go with --sweep"),
    ("--sweep --layout records", "--layout does not go with --sweep"),
    ("--sweep --record 1MiB", "--record does not go with --sweep"),
    ("--sweep --write-share 0.5", "--write-share does not go with --sweep"),
    ("--fio --pattern mix", "--pattern does not go with --fio"),
    ("--fio --layout records", "--layout does not go with --fio"),
    ("--fio --record 1MiB", "--record does not go with --fio"),
    ("--fio --write-share 0.5", "--write-share does not go with --fio"),
    ("--fio --rounds 3", "--rounds does not go with --fio"),
    ("--fio --seconds 0.1", "less than 10 ms for each of 48 runs of --fio"),
    ("--path /tmp --path /tmp/../tmp/", "--path /tmp/../tmp/ is given twice"),
    ("--engine threads --io-thread", "--io-thread is for io_uring"),
    ("--engine threads --ring polled", "--ring is for io_uring"),
    ("--rounds 1000000000000", "--rounds must be from 1 to 1000"),
    ("--fio --pairs 9223372036854775807", "--pairs must be from 1 to 1000"),
    (
      "--sweep --request-size 512MiB --depth 1",
      "nothing to measure: give a smaller --request-size or --depth; left out, since more than 256"
    ),
  ])
  func aFlagThatWouldBeIgnoredIsRefused(_ flags: String, _ reason: String) throws {
    let ending = try Pagoda.run(["bench", "swap"] + flags.split(separator: " ").map(String.init))
    ending.expect(64, reason)
    #expect(ending.output.isEmpty)
  }

  @Test func cellsThatAreTooLargeAreLeftOutByName() throws {
    let ending = try bench(
      "--sweep", "--seconds", "0.1", "--request-size", "4KiB,512MiB", "--depth", "1")
    ending.expect(0)
    #expect(ending.output.contains("would be under way at once: 512 MiB x 1"))
    #expect(ending.output.contains("* best: requests of 4 KiB, 1 at once"))
    try expectNothingLeft()
  }

  @Test func buffersBeyondTheMemoryAreRefused() throws {
    for flags in [["--footprint", "1000TiB"], ["--request-size", "1GiB", "--depth", "4096"]] {
      let all = ["bench", "swap", "--path", drive, "--size", "16MiB"] + flags
      try Pagoda.run(all).expect(
        71, "the buffers need ", "are available: give a smaller --footprint, --depth or")
    }
    try expectNothingLeft()
  }

  /// As training drives it; the report says so.
  @Test func aThreadOfItsOwnIsNamed() throws {
    let shape = ["--seconds", "0.3", "--request-size", "64KiB", "--depth", "4", "--io-thread"]
    let arguments = ["bench", "swap", "--path", drive, "--size", "16MiB"] + shape
    for more in [["--pattern", "read", "--layout", "sequential"], ["--sweep"]] {
      let text = try Pagoda.run(arguments + more)
      text.expect(0)
      let isThreads = text.output.contains("threads instead of io_uring")
      #expect(text.output.contains("\(drive): io_uring on a thread of its own") != isThreads)
    }
    let own = try #require(
      try object(try Pagoda.run(arguments + ["--pattern", "read", "--json"]))["pagoda"]
        as? [String: Any])
    let path = try #require((own["paths"] as? [[String: Any]])?.first)
    #expect(path["has_io_thread"] as? Bool == (path["engine"] as? String != "threads"))
    try expectNothingLeft()
  }
}

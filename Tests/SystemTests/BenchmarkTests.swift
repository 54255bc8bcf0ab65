import Foundation
import TestSupport
import Testing
import Training

/// Every benchmark in `bench` in a size that takes a moment: what it prints, and that what must agree
/// does. Speeds are not looked at.
@Suite struct BenchmarkTests {
  private static let programs = Pagoda.executable.deletingLastPathComponent()

  /// The lines of JSON that `program` prints.
  /// - Parameter directory: where it runs.
  private func run(
    _ program: String, _ arguments: [String], input: String? = nil, in directory: String = ".",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> [[String: Any]] {
    let command =
      ["-C", directory, Self.programs.appending(path: program).path] + arguments
    let ending = try RunningPagoda(
      command, input: input, cache: TemporaryDirectory(), sourceLocation: sourceLocation
    ).wait()
    try #require(ending.exitCode == 0, "\(ending.errors)", sourceLocation: sourceLocation)
    return try ending.output.split(separator: "\n").map { line in
      let object = try JSONSerialization.jsonObject(with: Data(line.utf8))
      return try #require(object as? [String: Any], sourceLocation: sourceLocation)
    }
  }

  /// What every contest reports.
  private func expectReport(
    _ line: [String: Any], _ bench: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    #expect(line["bench"] as? String == bench, sourceLocation: sourceLocation)
    for key in ["commit", "date", "subject", "unit", "checksum"] {
      let text = try #require(line[key] as? String, "\(key)", sourceLocation: sourceLocation)
      #expect(!text.isEmpty, "\(key)", sourceLocation: sourceLocation)
    }
    let machine = try #require(line["machine"] as? [String: Any], sourceLocation: sourceLocation)
    #expect(machine["cores"] is Int && machine["processor"] is String && machine["blas"] is String)
    #expect((machine["vectors"] as? String)?.hasPrefix("AVX") == true)
  }

  private func expectCeiling(
    _ line: [String: Any], sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let ratio = try #require(line["ratio"] as? Double, sourceLocation: sourceLocation)
    #expect(ratio > 0 && ratio.isFinite, sourceLocation: sourceLocation)
    #expect(line["ceiling"] is [String: Any], sourceLocation: sourceLocation)
  }

  private func entrants(_ line: [String: Any]) throws -> [String: [String: Any]] {
    let entrants = try #require(line["entrants"] as? [[String: Any]])
    return Dictionary(uniqueKeysWithValues: entrants.map { ($0["name"] as? String ?? "", $0) })
  }

  private func figure(_ line: [String: Any], _ name: String, _ key: String) throws -> Double {
    let figures = try #require(entrants(line)[name]?["figures"] as? [String: Any])
    return try #require(figures[key] as? Double, "\(key) of \(name)")
  }

  @Test func adamHasTheSameBitsInEveryExactFormAndWithAnyThreads() throws {
    let lines = try run(
      "KernelBench", ["adam", "--elements", "1e5", "--threads", "1,2", "--rounds", "2"])
    try #require(lines.count == 2)
    for line in lines {
      try expectReport(line, "adam")
      try expectCeiling(line)
      #expect(line["agrees"] as? Bool == true)
      #expect(try figure(line, "hi/lo", "elements_per_s") > 0)
      #expect(try figure(line, "hi/lo, AVX2", "elements_per_s") > 0)
    }
    let checksums = try lines.map { try entrants($0)["fp32"]?["checksum"] as? String }
    #expect(checksums[0] == checksums[1])
  }

  @Test func productsAreComparedWithLargeOnes() throws {
    let lines = try run(
      "KernelBench",
      [
        "matmul", "--shapes", "tiny", "--rows", "3,256", "--threads", "1,2", "--large", "96",
        "--gigaflops", "0.001", "--rounds", "2",
      ])
    try #require(lines.count == 2)
    for line in lines {
      try expectReport(line, "matmul")
      try expectCeiling(line)
      let figures = try #require(line["figures"] as? [String: Double])
      #expect(figures["least_ratio_products_from_256"] ?? 0 > 0)
      #expect(try entrants(line).keys.contains("backward 3"))
    }
  }

  @Test func otherKernelsAreComparedWithMemoryAndProducts() throws {
    let lines = try run(
      "KernelBench",
      [
        "elementwise", "--rows", "70", "--columns", "64", "--sequence", "40", "--vocabulary",
        "300", "--large", "96", "--rounds", "2",
      ])
    try #require(lines.count == 2)
    try expectReport(lines[0], "elementwise")
    try expectReport(lines[1], "attention and loss")
    for line in lines { try expectCeiling(line) }
    for name in ["softmax", "GELU forward", "gated SiLU forward"] {
      let found = try entrants(lines[0])
      let checksum = try #require(found[name]?["checksum"] as? String)
      #expect(found[name + ", AVX2"]?["checksum"] as? String == checksum)
    }
  }

  /// Resident and under every budget the same losses, and the bytes of the cost model.
  @Test func budgetsHaveTheBitsOfTheResidentRun() throws {
    let workplace = try Workplace()
    let lines = try run(
      "PagedBench",
      [
        workplace.config, "15%,60%", "4", "1", "--scratch", workplace.path("scratch"), "--bounds",
        "--drive-seconds", "0.3", "--variant", "storage.queue_depth=2", "training.clip=block",
      ])
    let line = try #require(lines.first)
    try expectReport(line, "paged")
    try expectCeiling(line)
    #expect(line["agrees"] as? Bool == true)
    #expect(try entrants(line).count == 5)
    for name in ["15%", "60%", "15% storage.queue_depth=2"] {
      for key in ["read_to_model", "write_to_model"] {
        #expect(abs(try figure(line, name, key) - 1) < 0.02, "\(key) of \(name)")
      }
      for key in ["tokens_per_expert", "hiding_tokens", "ratio_to_bound", "bound_tokens_per_s"] {
        #expect(try figure(line, name, key) > 0, "\(key) of \(name)")
      }
    }
    #expect(try figure(line, "60%", "hit_rate") > figure(line, "15%", "hit_rate"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: workplace.path("scratch")) == [])
  }

  /// Each has its own next step in each round.
  @Test func runsAbreastHaveTheSameBits() throws {
    let workplace = try Workplace()
    let lines = try run(
      "PagedBench",
      [
        workplace.config, "15%", "4", "--abreast", "--scratch", workplace.path("scratch"),
        "training.clip=block",
      ])
    let line = try #require(lines.first)
    try expectReport(line, "paged")
    #expect(line["agrees"] as? Bool == true)
    #expect(try Set(entrants(line).keys) == ["resident", "15%"])
    #expect(try figure(line, "15%", "write_bytes") > 0)
    for name in ["resident", "15%"] {
      #expect(try figure(line, name, "step_s") > 0)
      let figures = try #require(entrants(line)[name]?["figures"] as? [String: Any])
      #expect(figures["peak_rss_bytes"] == nil, "it would be that of both")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: workplace.path("scratch")) == [])
  }

  @Test func theCostOfTouchedBytesIsReportedBySize() throws {
    let workplace = try Workplace()
    let lines = try run(
      "PagedBench",
      [
        "linear", workplace.config, "--state", "8MiB,16MiB", "--pool", "2MiB", "--width", "64",
        "--steps", "3", "--tokens", "256", "--scratch", workplace.path("scratch"),
      ])
    let line = try #require(lines.first)
    try expectReport(line, "linear")
    let (small, large) = (
      try figure(line, "8MiB", "touched_gib"), try figure(line, "16MiB", "touched_gib")
    )
    #expect(large > small)
    let figures = try #require(line["figures"] as? [String: Double])
    #expect(figures["most_to_least_seconds_per_touched_gib"] ?? 0 >= 1)
    let memory = try #require(figures["memory_bytes"])
    #expect(try figure(line, "16MiB", "peak_rss_bytes") <= memory)
    #expect(try FileManager.default.contentsOfDirectory(atPath: workplace.path("scratch")) == [])
  }

  @Test(
    arguments: [
      ("budgets CONFIG inf%", 64, "inf% is neither a size nor a share"),
      ("budgets CONFIG 1e30%", 64, "1e30% is neither a size nor a share"),
      ("budgets CONFIG ,", 64, "no budget is given"),
      ("budgets CONFIG 10% --bounds --drive-seconds nan", 64, "--drive-seconds must be positive"),
      ("budgets CONFIG 10% 4 --scratch /proc/x", 1, "cannot make the directory /proc/x/bench-"),
      ("linear CONFIG --state 0", 64, "neither they nor --pool are 0"),
      ("linear CONFIG --state ,", 64, "--state is sizes with commas"),
      ("linear CONFIG --pool 0", 64, "neither they nor --pool are 0"),
      ("linear CONFIG --state 1GiB --spare 1000TiB", 1, "no size fits in runs"),
      ("linear CONFIG model.nope=1", 1, "model.nope: unknown key"),
    ] as [(String, Int32, String)])
  func pagedBenchRefusesWrongInput(_ line: String, _ code: Int32, _ reason: String) throws {
    let workplace = try Workplace()
    let words = line.split(separator: " ").map { $0 == "CONFIG" ? workplace.config : String($0) }
    let program = Self.programs.appending(path: "PagedBench").path
    let ending = try RunningPagoda(
      ["-C", workplace.directory.path, program] + words, input: nil, cache: TemporaryDirectory(),
      sourceLocation: #_sourceLocation
    ).wait()
    ending.expect(code, reason)
    #expect(ending.output.isEmpty)
  }

  /// A store may be tens of gigabytes: whoever is told to stop takes it along.
  @Test(arguments: [SIGHUP, SIGINT, SIGTERM])
  func storesAreRemovedWhenABenchmarkIsStopped(_ number: Int32) throws {
    let workplace = try Workplace()
    let scratch = workplace.path("scratch")
    let running = try RunningPagoda(
      [
        "--default-signal=HUP,INT,TERM", Self.programs.appending(path: "PagedBench").path,
        "budgets", workplace.config, "15%", "100000", "--scratch", scratch,
      ], input: nil, cache: TemporaryDirectory(), sourceLocation: #_sourceLocation)
    func left() -> [String] {
      (try? FileManager.default.subpathsOfDirectory(atPath: scratch)) ?? []
    }
    try waitUntil { left().contains { $0.hasSuffix("/pages.bin") } }
    running.signal(number)
    #expect(try running.wait().exitCode == 128 + number)
    #expect(left() == [])
  }

  @Test func commitsAndReturnsAreTimed() throws {
    let workplace = try Workplace()
    let lines = try run(
      "CommitBench", [workplace.config, "128MiB", "1", "2"], in: workplace.directory.path)
    let line = try #require(lines.first)
    #expect(line["bench"] as? String == "commit" && line["commit"] is String)
    for key in ["pause_seconds", "durable_seconds", "window_ratio", "resume_seconds"] {
      #expect(try #require(line[key] as? Double, "\(key)") > 0, "\(key)")
    }
    try expectCeiling(line)
    #expect(!((line["checksum"] as? String) ?? "").isEmpty)
  }

  /// What races others computes what training computes.
  @Test func stepsOnDemandAreThoseOfTraining() throws {
    let workplace = try Workplace()
    let started = try workplace.train("run", "--steps", "2")
    started.expect(0)
    let answers = try run(
      "StepBench", [workplace.path("run"), "--batches", workplace.path("batches.json")],
      input: "2\n1\n")
    let losses = answers.flatMap { $0["losses"] as? [Double] ?? [] }
    let continued = try workplace.train("run", "--steps", "5")
    continued.expect(0)
    let expected = workplace.metrics("run").suffix(3).map(\.loss)
    #expect(losses.count == 3 && expected.count == 3)
    // Foundation's two readers of JSON do not always agree on the last bit of what both were given.
    #expect(zip(losses, expected).allSatisfy { abs($0 - $1) <= $0.ulp }, "\(losses), \(expected)")
    let batches = try JSONSerialization.jsonObject(with: workplace.bytes("batches.json"))
    let first = try #require((batches as? [[String: [[Int]]]])?.first)
    #expect(first["source"]?.count == first["target"]?.count)
    #expect(first["target"]?.map(\.count) == first["labels"]?.map(\.count))
  }

  /// Whatever memory there is, and whoever computes: the same weights.
  @Test func parametersOnADriveAreUpdatedToTheSameBits() throws {
    let workplace = try Workplace()
    let found = try [("300KiB", "1"), ("4MiB", "2")].map { buffers, threads in
      let lines = try run(
        "SwapUpdateBench",
        [
          workplace.directory.path, "--parameters", "120000", "--block", "5000", "--buffers",
          buffers, "--threads", threads, "--rounds", "1", "--updates", "2",
        ])
      let line = try #require(lines.first)
      try expectReport(line, "swap-update")
      try expectCeiling(line)
      #expect(try figure(line, "AdamW, paged", "update_s") > 0)
      return try entrants(line)["AdamW, paged"]?["checksum"] as? String
    }
    #expect(found[0] == found[1])
    let left = try FileManager.default.contentsOfDirectory(atPath: workplace.directory.path)
    #expect(left == ["config.yaml"])
  }

  /// The drive's rates in the shape of all benchmarks.
  @Test func theDriveIsComparedWithPlainCalls() throws {
    let workplace = try Workplace()
    let ending = try script(
      "drive", [workplace.directory.path, "--size", "16MiB", "--seconds", "0.5"]
    ).wait()
    ending.expect(0)
    let line = try object(ending)
    #expect(line["bench"] as? String == "drive" && line["commit"] is String)
    #expect((line["checksum"] as? String)?.count == 16)
    try expectCeiling(line)
  }

  @Test func whatHasNoCeilingIsNoBenchmark() throws {
    try script("drive", [".", "--sweep"]).wait().expect(1, "--sweep has no ceiling")
    try script("all", ["--everything"]).wait().expect(64, "usage: bench/all")
    let workplace = try Workplace()
    try script("all", [], in: workplace.directory.path).wait().expect(66, "run tools/quickstart")
  }

  /// Starts a script of `bench`; whatever the caller of the tests ignores, it hears signals.
  private func script(
    _ name: String, _ arguments: [String], in directory: String = ".",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> RunningPagoda {
    try RunningPagoda(
      [
        "--default-signal=HUP,INT,TERM", "-C", directory, "PYTHONDONTWRITEBYTECODE=1",
        "BUILD=\(Self.programs.path)", Self.root.appending(path: "bench/\(name)").path,
      ] + arguments, input: nil, cache: TemporaryDirectory(), sourceLocation: sourceLocation)
  }

  private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appending(path: "../..").standardized

  private func object(_ ending: Ending) throws -> [String: Any] {
    let any = try JSONSerialization.jsonObject(with: Data(ending.output.utf8))
    return try #require(any as? [String: Any])
  }

  private func olmoe(_ workplace: Workplace, _ more: String...) throws -> RunningPagoda {
    try script(
      "olmoe",
      [
        "--config", Self.root.appending(path: "Tests/Goldens/tiny/olmoe-tiny/config.json").path,
        "--corpus", Workplace.corpus, "--scratch", workplace.path("scratch"), "--memory", "512MiB",
        "--steps", "2", "--tokens", "256", "--sequence", "64",
      ] + more)
  }

  /// From a checkpoint to its export, in the stages and with the checks of the true size.
  @Test func olmoeGoesThroughAllItsStages() throws {
    let workplace = try Workplace()
    let ending = try olmoe(workplace, "--drive-seconds", "0.5").wait()
    ending.expect(0)
    let found = try object(ending)
    #expect(found["bench"] as? String == "olmoe" && found["layers"] as? Int == 2)
    #expect(found["commit"] is String && found["machine"] is [String: Any])
    #expect((found["checksum"] as? String)?.count == 8)
    try expectCeiling(found)
    let train = try #require(found["train"] as? [String: Any])
    #expect(train["steps"] as? Int == 2 && train["losses"] as? [Double] != nil)
    let tensors = 2 * (16 * 3 + 4 + 4 + 1) + 3
    let (check, export) = (
      try #require(found["check"] as? [String: Any]),
      try #require(found["export"] as? [String: Any])
    )
    #expect(check["tensors"] as? Int == tensors && export["tensors"] as? Int == tensors)
    #expect(try #require(export["changed"] as? Int) > tensors / 2)
    let room = try #require(found["room"] as? [String: [String: Int]])
    let (asked, used) = (try #require(room["asked_bytes"]), try #require(room["used_bytes"]))
    #expect(Set(asked.keys) == ["import", "check", "train", "export"])
    // Headers, and what is rounded up to whole files, are large only here.
    let small = 1 << 19
    for (stage, bytes) in asked {
      let most = try #require(used[stage])
      #expect(most <= bytes + small, "\(stage): asked for \(bytes), used \(most)")
      #expect(stage == "train" || bytes <= most + small, "\(stage): \(bytes), \(most)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: workplace.path("scratch")) == [])
  }

  /// Whoever is told to stop leaves nothing, and says so with its exit code.
  @Test(arguments: [SIGHUP, SIGINT, SIGTERM])
  func olmoeRemovesItsFilesWhenItIsStopped(_ number: Int32) throws {
    let workplace = try Workplace()
    let running = try olmoe(workplace, "--drive-seconds", "100")
    try waitUntil { FileManager.default.fileExists(atPath: workplace.path("scratch/olmoe")) }
    running.signal(number)
    #expect(try running.wait().exitCode == 128 + number)
    #expect(try FileManager.default.contentsOfDirectory(atPath: workplace.path("scratch")) == [])
  }

  @Test(
    arguments: [
      (["--memory", "much"], 2, "much is no size"), (["--steps", "0"], 2, "no positive number"),
      (["--layers", "3"], 2, "not that of --config"), (["--leave", "1e99GiB"], 1, "are missing"),
      (["--corpus", "/dev"], 1, "/dev is no prepared corpus"),
      (["--config", "/dev/null"], 1, "/dev/null: "),
    ] as [([String], Int32, String)])
  func olmoeRefusesWrongInput(_ arguments: [String], _ code: Int32, _ reason: String) throws {
    let workplace = try Workplace()
    let ending = try script(
      "olmoe",
      [
        "--config", Self.root.appending(path: "Tests/Goldens/tiny/olmoe-tiny/config.json").path,
        "--corpus", Workplace.corpus, "--scratch", workplace.path("scratch"),
      ] + arguments
    ).wait()
    ending.expect(code, reason)
    #expect(!ending.errors.contains("Traceback") && ending.output.isEmpty)
  }

  /// Races need Pythons with the others in them; that they can be started is seen without.
  @Test(arguments: [
    "adamw", "deepspeed_aio", "deepspeed_checkpoint", "optimizer_swap", "transformers_race",
  ])
  func racesSayWhatTheyDo(_ name: String) throws {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appending(path: "../../bench/peers/\(name).py").standardized
    let ending = try RunningPagoda(
      ["PYTHONDONTWRITEBYTECODE=1", "python3", file.path, "--help"], input: nil,
      cache: TemporaryDirectory(), sourceLocation: #_sourceLocation
    ).wait()
    ending.expect(0)
    #expect(ending.output.contains("usage"))
  }
}

import ArgumentParser
import Base
import DirectIO
import Foundation
import Planning
import Storage

struct BenchSwap: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swap",
    abstract: "Read and write bandwidth of drives, through the engine that training uses.",
    discussion: """
      Writes a scratch file of random data, then reads and writes it with O_DIRECT in interleaved
      rounds: sequentially, and in records at random places as experts are paged. Several paths are
      measured alone and together. Ends with a proof that what was written comes back. The file has
      no name and leaves nothing behind.

        pagoda bench swap --path /mnt/nvme --size 8GiB --seconds 60
        pagoda bench swap --path /mnt/nvme0 --path /mnt/nvme1 --pattern mix --write-share 0.3
        pagoda bench swap --path /mnt/nvme --sweep
        pagoda bench swap --path /mnt/nvme --fio
      """)

  @Option(help: "A directory on the drive.")
  var path: [String] = ["."]

  @Option(help: "Size of the scratch file in each directory.")
  var size = ByteCount(1 << 30)

  @Option(help: "all, read, write or mix.")
  var pattern = SwapBenchmark.Pattern.all

  @Option(help: "both, sequential or records.")
  var layout = SwapBenchmark.Layouts.both

  @Option(help: "Share of writes of the pattern mix, from 0 to 1.")
  var writeShare = 0.5

  @Option(help: "Bytes of a request; several, comma-separated, are the rows of --sweep.")
  var requestSize: String?

  @Option(help: "Requests under way at once; several, comma-separated, are the columns of --sweep.")
  var depth: String?

  @Option(help: "Memory that requests rotate through. Default: the most that is under way at once.")
  var footprint: ByteCount?

  @Option(help: "Size of a record.")
  var record = ByteCount(12 << 20)

  @Option(help: "Time to measure, for each directory. Default: 20, with --sweep 60, with --fio 48.")
  var seconds: Double?

  @Option(help: "Interleaved rounds. Default: 3, with --sweep 2.")
  var rounds: Int?

  @Option(help: "automatic, io_uring or threads.")
  var engine = "automatic"

  @Option(help: "How io_uring is set up: automatic, deferred, cooperative, polled or plain.")
  var ring = "automatic"

  @Flag(help: "Measure request sizes against depths, and recommend.")
  var sweep = false

  @Flag(help: "Run fio on the same file in interleaved pairs: read, write, and half of each.")
  var fio = false

  @Option(help: "A further option of fio, such as fixedbufs=1; may be given several times.")
  var fioOption: [String] = []

  @Option(help: "Pairs of --fio.")
  var pairs = 7

  @Flag(help: "Print one JSON object, in the shape of fio's.")
  var json = false

  func validate() throws {
    guard seconds ?? 1 > 0, seconds ?? 1 < 1e6, size.bytes > 0, rounds ?? 1 > 0, pairs > 0 else {
      throw ValidationError("--seconds, --size, --rounds and --pairs must be positive")
    }
    guard 0 <= writeShare, writeShare <= 1 else {
      throw ValidationError("--write-share is from 0 to 1")
    }
    guard record.bytes >= 4096, record.bytes % 4096 == 0 else {
      throw ValidationError("--record is not a multiple of 4KiB")
    }
    guard !(sweep && fio) else { throw ValidationError("--sweep and --fio are two measurements") }
    guard fio || fioOption.isEmpty else {
      throw ValidationError("--fio-option goes with --fio")
    }
    guard !fio || footprint == nil else {
      throw ValidationError("--footprint does not go with --fio: fio uses what is under way")
    }
    _ = try (engineSettings, requestSizes, depths)
    guard sweep || requestSize?.contains(",") != true && depth?.contains(",") != true else {
      throw ValidationError("several request sizes or depths are for --sweep")
    }
  }

  func run() throws {
    try reportingFailures {
      if sweep { return try runSweep() }
      if fio { return try runDuel() }
      try runLoads()
    }
  }

  private func runLoads() throws {
    var benchmark = SwapBenchmark(directories: path)
    benchmark.fileBytes = size.bytes
    benchmark.seconds = seconds ?? 20
    benchmark.pattern = pattern
    benchmark.layouts = layout
    benchmark.writeShare = writeShare
    benchmark.requestBytes = try requestSizes?[0] ?? benchmark.requestBytes
    benchmark.queueDepth = try depths?[0] ?? benchmark.queueDepth
    benchmark.footprintBytes = footprint?.bytes
    benchmark.recordBytes = record.bytes
    benchmark.rounds = rounds ?? benchmark.rounds
    benchmark.engine = try engineSettings
    sayMeasuring(benchmark.seconds * Double(path.count))
    let report = try benchmark.run()
    if json { return try Output.json(FioShape(report)) }
    for line in swapLines(report) { Output.result(line) }
  }

  private func runSweep() throws {
    sayMeasuring((seconds ?? 60) * Double(path.count))
    let reports = try path.map { path in
      var sweep = RequestSweep(directory: path)
      sweep.fileBytes = size.bytes
      sweep.seconds = seconds ?? sweep.seconds
      sweep.requestSizes = try requestSizes ?? sweep.requestSizes
      sweep.queueDepths = try depths ?? sweep.queueDepths
      sweep.footprintBytes = footprint?.bytes
      sweep.rounds = rounds ?? sweep.rounds
      sweep.engine = try engineSettings
      return try sweep.run()
    }
    if json {
      try Output.json(FioShape(sweep: reports))
    } else {
      for report in reports { for line in sweepLines(report) { Output.result(line) } }
    }
    for report in reports { remember(report) }
  }

  /// What the sweep recommends is how training drives this path from now on.
  private func remember(_ report: RequestSweep.Report) {
    let cell = report.recommended
    let shape = (cell.requestBytes, cell.queueDepth)
    guard report.isDirect,
      let profile = DriveProfile.measure(
        report.directory, memoryBytes: .max, at: shape)
    else {
      return
    }
    do {
      try DriveProfiles.ofUser.remember(profile, of: report.directory)
      Output.say(
        "remembered for training on this drive: requests of \(ByteCount(shape.0)), \(shape.1) at "
          + "once, reads and writes \(profile.settings.mixing.rawValue)")
    } catch {
      Output.say("note: not remembered: \(error.localizedDescription)")
    }
  }

  private func runDuel() throws {
    let reports = try path.map { path in
      var duel = FioDuel(directory: path, options: fioOption) {
        try? JSONDecoder().decode(FioOutput.self, from: Data($0.utf8))
      }
      duel.fileBytes = size.bytes
      duel.requestBytes = try requestSizes?[0] ?? duel.requestBytes
      duel.queueDepth = try depths?[0] ?? duel.queueDepth
      duel.pairs = pairs
      // Three loads with a warm-up pair each, two sides.
      let runs = Double(3 * (pairs + 1) * 2)
      duel.secondsPerRun = seconds.map { $0 / runs } ?? duel.secondsPerRun
      duel.engine = try engineSettings
      sayMeasuring(duel.secondsPerRun * runs)
      return try duel.run()
    }
    if json { return try Output.json(FioShape(duels: reports)) }
    for report in reports { for line in duelLines(report) { Output.result(line) } }
  }

  private func sayMeasuring(_ seconds: Double) {
    Output.say("measuring \(path.joined(separator: ", ")) for about \(Int(seconds.rounded(.up))) s")
  }
}

// MARK: - Flags

extension SwapBenchmark.Pattern: ExpressibleByArgument {}
extension SwapBenchmark.Layouts: ExpressibleByArgument {}

extension BenchSwap {
  private var engineSettings: DiskSettings {
    get throws {
      guard let preference = EnginePreference(rawValue: engine == "io_uring" ? "ring" : engine)
      else { throw ValidationError("--engine is automatic, io_uring or threads") }
      let mode = RingMode(rawValue: ring)
      guard mode != nil || ring == "automatic" else {
        throw ValidationError("--ring is automatic, deferred, cooperative, polled or plain")
      }
      return DiskSettings(engine: preference, ringMode: mode)
    }
  }

  /// nil where the flag was not given.
  private var requestSizes: [Int]? {
    get throws {
      try requestSize?.split(separator: ",").map {
        guard let size = ByteCount(parsing: String($0)), size.bytes >= 4096, size.bytes % 4096 == 0,
          size.bytes <= 1 << 30
        else {
          throw ValidationError("--request-size: `\($0)` is not a multiple of 4KiB up to 1GiB")
        }
        return size.bytes
      }.nonEmpty(or: "--request-size")
    }
  }

  private var depths: [Int]? {
    get throws {
      try depth?.split(separator: ",").map {
        guard let depth = Int($0), (1...4096).contains(depth) else {
          throw ValidationError("--depth: `\($0)` is not a queue depth from 1 to 4096")
        }
        return depth
      }.nonEmpty(or: "--depth")
    }
  }
}

extension Array {
  fileprivate func nonEmpty(or flag: String) throws -> Self {
    guard !isEmpty else { throw ValidationError("\(flag) is empty") }
    return self
  }
}

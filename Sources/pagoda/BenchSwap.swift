import ArgumentParser
import Base
import DirectIO
import Foundation
import Planning
import Storage

struct BenchSwap: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "swap",
    abstract: "Read and write bandwidth of drives, through Pagoda's own engine.",
    discussion: """
      Writes a scratch file of random data, then reads and writes it with O_DIRECT in interleaved
      rounds: sequentially, and in records at random places as experts are paged. Several paths are
      measured alone and together. Ends with a proof that what was written comes back. The file has
      no name and leaves nothing behind.

      The thread that asks also drives io_uring. In training a thread of its own does, unless
      storage.io_thread is false: give --io-thread to measure that.

        pagoda bench swap --path /mnt/nvme --size 8GiB --seconds 60
        pagoda bench swap --path /mnt/nvme0 --path /mnt/nvme1 --pattern mix --write-share 0.3
        pagoda bench swap --path /mnt/nvme --sweep
        pagoda bench swap --path /mnt/nvme --fio
      """)

  @Option(help: "A directory on the drive.")
  var path: [String] = ["."]

  @Option(help: "Size of the scratch file in each directory.")
  var size = ByteCount(1 << 30)

  @Option(help: "all, read, write or mix. Default: all.")
  var pattern: SwapBenchmark.Pattern?

  @Option(help: "both, sequential or records. Default: both.")
  var layout: SwapBenchmark.Layouts?

  @Option(help: "Share of writes of --pattern mix, from 0 to 1. Default: 0.5.")
  var writeShare: Double?

  @Option(help: "Bytes of a request; several, comma-separated, are the rows of --sweep.")
  var requestSize: String?

  @Option(help: "Requests under way at once; several, comma-separated, are the columns of --sweep.")
  var depth: String?

  @Option(help: "Memory that requests rotate through. Default: the most that is under way at once.")
  var footprint: ByteCount?

  @Option(help: "Size of a record. Default: 12MiB.")
  var record: ByteCount?

  @Option(help: "Time to measure, for each directory. Default: 20, with --sweep 60, with --fio 48.")
  var seconds: Double?

  @Option(help: "Interleaved rounds. Default: 3, with --sweep 2.")
  var rounds: Int?

  @Option(help: "automatic, io_uring or threads.")
  var engine = "automatic"

  @Option(help: "How io_uring is set up: automatic, deferred, cooperative, polled or plain.")
  var ring = "automatic"

  @Flag(help: "Drive io_uring from a thread of its own, as training does.")
  var ioThread = false

  @Flag(help: "Measure request sizes against depths, and recommend.")
  var sweep = false

  @Flag(help: "Run fio on the same file in interleaved pairs: read, write, and half of each.")
  var fio = false

  @Option(help: "A further option of fio, such as fixedbufs=1; may be given several times.")
  var fioOption: [String] = []

  @Option(help: "Pairs of --fio. Default: 7.")
  var pairs: Int?

  @Flag(help: "Print one JSON object, in the shape of fio's.")
  var json = false

  func validate() throws {
    try checkNumbers()
    try checkPaths()
    try checkCombinations()
    try checkShapes()
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
    benchmark.pattern = pattern ?? benchmark.pattern
    benchmark.layouts = layout ?? benchmark.layouts
    benchmark.writeShare = writeShare ?? benchmark.writeShare
    benchmark.requestBytes = try requestSizes?[0] ?? benchmark.requestBytes
    benchmark.queueDepth = try depths?[0] ?? benchmark.queueDepth
    benchmark.footprintBytes = footprint?.bytes
    benchmark.recordBytes = record?.bytes ?? benchmark.recordBytes
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
      var sweep = try self.sweep(of: path)
      sweep.fileBytes = size.bytes
      sweep.seconds = seconds ?? sweep.seconds
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

  /// A sweep with the cells that the flags ask for.
  func sweep(of directory: String) throws -> RequestSweep {
    var sweep = RequestSweep(directory: directory)
    sweep.requestSizes = try requestSizes ?? sweep.requestSizes
    sweep.queueDepths = try depths ?? sweep.queueDepths
    return sweep
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

  /// Three loads with a warm-up pair each, two sides.
  static func runs(pairs: Int) -> Double { Double(3 * (pairs + 1) * 2) }

  private func runDuel() throws {
    let reports = try path.map { path in
      var duel = FioDuel(directory: path, options: fioOption) {
        try? JSONDecoder().decode(FioOutput.self, from: Data($0.utf8))
      }
      duel.fileBytes = size.bytes
      duel.requestBytes = try requestSizes?[0] ?? duel.requestBytes
      duel.queueDepth = try depths?[0] ?? duel.queueDepth
      duel.pairs = pairs ?? duel.pairs
      let runs = Self.runs(pairs: duel.pairs)
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

import ArgumentParser
import Base
import DirectIO
import Planning

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure what this machine can do, as a share of its ceiling.",
    subcommands: [Swap.self, BenchMemory.self])

  struct Swap: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Read and write bandwidth of a drive, through the engine that training uses.",
      discussion: """
        Writes a scratch file of random data, then reads and writes it with O_DIRECT in interleaved
        rounds, checks what it reads, and removes it. Beside each figure stands the ceiling: plain
        pread and pwrite from several threads in the same rounds.

          pagoda bench swap --path /mnt/nvme --size 8GiB --seconds 60
        """)

    @Option(help: "A directory on the drive.")
    var path: [String] = ["."]

    @Option(help: "Size of the scratch file.")
    var size = ByteCount(1 << 30)

    @Option(help: "Time to measure, for each directory.")
    var seconds = 20.0

    @Option(help: "Request sizes, comma-separated.")
    var request = "1MiB"

    @Option(help: "Queue depths, comma-separated.")
    var depth = "8,32"

    @Option(help: "automatic, io_uring or threads.")
    var engine = "automatic"

    @Flag(help: "Print one JSON object.")
    var json = false

    private struct Report: Encodable {
      let paths: [SwapReport]
    }

    func run() throws {
      let (requests, depths) = (try parsedRequests(), try parsedDepths())
      guard let preference = EnginePreference(rawValue: engine == "io_uring" ? "ring" : engine)
      else { throw ValidationError("--engine is automatic, io_uring or threads") }
      guard seconds > 0, size.bytes > 0 else {
        throw ValidationError("--seconds and --size must be positive")
      }
      try reportingFailures {
        let reports = try path.map { path in
          var probe = DiskProbe(
            directory: path, fileBytes: size.bytes, seconds: seconds, requestBytes: requests,
            queueDepths: depths)
          probe.preference = preference
          Output.say("measuring \(path) for about \(Int(seconds)) s")
          return try probe.run()
        }
        if json { return try Output.json(Report(paths: reports)) }
        for report in reports { for line in lines(report) { Output.result(line) } }
      }
    }

    private func parsedRequests() throws -> [Int] {
      try request.split(separator: ",").map {
        guard let size = ByteCount(parsing: String($0)), size.bytes >= 4096, size.bytes % 4096 == 0
        else { throw ValidationError("--request: `\($0)` is not a multiple of 4KiB") }
        return size.bytes
      }
    }

    private func parsedDepths() throws -> [Int] {
      try depth.split(separator: ",").map {
        guard let depth = Int($0), (1...4096).contains(depth) else {
          throw ValidationError("--depth: `\($0)` is not a queue depth from 1 to 4096")
        }
        return depth
      }
    }

    private func lines(_ report: SwapReport) -> [String] {
      func cell(_ rate: SwapReport.Rate) -> String {
        "\(fixed(rate.median, 2)) (\(fixed(rate.low, 2))-\(fixed(rate.high, 2)))"
      }
      let head = [
        "request", "depth", "read", "write", "mix", "random read", "random write", "ceiling read",
        "ceiling write", "read share", "write share",
      ]
      let rows = report.rows.map {
        [
          "\(ByteCount($0.requestBytes))", "\($0.queueDepth)", cell($0.sequentialRead),
          cell($0.sequentialWrite), cell($0.mix), cell($0.randomRead), cell($0.randomWrite),
          cell($0.ceilingRead), cell($0.ceilingWrite), "\(Int(100 * $0.readShare)) %",
          "\(Int(100 * $0.writeShare)) %",
        ]
      }
      return [
        "\(report.directory): \(report.engine), \(ByteCount(report.scratchBytes)) of random data, "
          + "\(report.rounds) rounds; GB/s, median (low-high)",
        "ceiling: \(report.ceiling)",
      ] + report.notes.map { "note: \($0)" } + table([head] + rows) + [
        "\(report.pagesChecked) pages compared with what was written, checksum "
          + String(report.checksum, radix: 16)
      ]
    }
  }
}

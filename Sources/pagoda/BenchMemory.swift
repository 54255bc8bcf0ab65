import ArgumentParser
import Base
import Planning

struct BenchMemory: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory",
    abstract: "Copy and triad bandwidth of each memory node, from the processors of each.",
    discussion: """
      Three arrays of floats on each memory node; the threads of each node with processors copy
      (a = b), add (a = b + s c), and, as the ceiling, call memcpy and read, in interleaved rounds.
      Rates count as STREAM's do: copy 2 and triad 3 times the bytes of an array, GB = 1e9. Each
      round's result is checked.

        pagoda bench memory --seconds 10
        pagoda bench memory --node 0 --node 2 --size 1GiB --threads 4
      """)

  @Option(help: "A memory node; give it once for each. Default: all.")
  var node: [Int] = []

  @Option(help: "Size of each array. Default: four times the last-level caches, 64MiB at least.")
  var size: ByteCount?

  @Option(help: "Time to measure, for all nodes together.")
  var seconds = 5.0

  @Option(help: "Threads on the processors of a node. Default: one for each.")
  var threads: Int?

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    guard seconds > 0, seconds <= 1e6 else {
      throw ValidationError("--seconds must be positive and at most 1000000")
    }
    if let size, size.bytes < 4096 { throw ValidationError("--size must be at least 4KiB") }
    if let threads, !(1...4096).contains(threads) {
      throw ValidationError("--threads must be from 1 to 4096")
    }
  }

  func run() throws {
    try reportingFailures {
      let probe = MemoryProbe(
        nodes: node.isEmpty ? nil : node, arrayBytes: size?.bytes, seconds: seconds,
        threads: threads)
      let report = try probe.run()
      if json { return try Output.json(report) }
      for line in lines(report) { Output.result(line) }
    }
  }

  private func lines(_ report: MemoryReport) -> [String] {
    func cell(_ rate: Rate) -> String {
      "\(fixed(rate.median, 1)) (\(fixed(rate.low, 1))-\(fixed(rate.high, 1)))"
    }
    let head = [
      "processors", "memory", "threads", "copy", "triad", "memcpy", "read", "copy share",
      "triad share",
    ]
    let rows = report.rows.map {
      [
        "node \($0.processorNode)", "node \($0.memoryNode)", "\($0.threads)", cell($0.copy),
        cell($0.triad), cell($0.memcpy), cell($0.read), "\(Int(100 * $0.copyShare)) %",
        "\(Int(100 * $0.triadShare)) %",
      ]
    }
    let caches = report.cacheBytes.map { "last-level caches \(ByteCount($0))" } ?? "caches unknown"
    return [
      "arrays of \(ByteCount(report.arrayBytes)), \(caches), \(report.rounds) rounds; GB/s, median "
        + "(low-high)",
      "copy and memcpy count 2 times an array, triad 3 times, read once; shares are of "
        + report.ceiling,
      "\(ByteCount(report.hugePageBytes)) of \(ByteCount(report.allBytes)) are on huge pages",
    ] + report.notes.map { "note: \($0)" } + table([head] + rows) + [
      "every sum was right, checksum \(String(report.checksum, radix: 16))"
    ]
  }
}

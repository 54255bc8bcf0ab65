import ArgumentParser
import Base
import BenchHarness
import Foundation

/// AdamW over parameters that live on a drive: page in, update, page out.
@main
struct SwapUpdateBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Updates fp32 parameters with AdamW, weights and moments on a drive.",
    discussion: """
      Weights and moments are records of a store in DIRECTORY, 12 bytes a parameter, paged through \
      --buffers of memory; the gradient is in memory, 4 bytes a parameter. A turn is --updates \
      updates of all parameters and the commit behind them, so that all of it is durable when the \
      clock stops; every second update goes backwards, as the sweeps of training do. The ceiling \
      moves as many bytes as a whole update in the same rounds: plain reads and writes with \
      O_DIRECT from eight threads, half of the requests each. The files are removed.

        .build/release/SwapUpdateBench DIRECTORY
        .build/release/SwapUpdateBench DIRECTORY --parameters 4e6 --rounds 1
      """)

  @Argument(help: "On the drive; room for 27 bytes a parameter is needed.") var directory: String
  @Option(help: "How many.") var parameters = 268_435_456.0
  @Option(help: "Parameters of a record.") var block = 1_048_576.0
  @Option(help: "Memory for records.") var buffers = "1536MiB"
  @Flag(help: "Always in the same order, so that no record is still in memory when it is needed.")
  var cyclic = false
  @Option(help: "Updates in a turn.") var updates = 3
  @Option(help: "Rounds that count.") var rounds = 5
  @Option(help: "Threads of the update.") var threads = 2

  func validate() throws {
    guard blockParameters > 0, parameters >= block, min(updates, rounds, threads) > 0,
      ByteCount(parsing: buffers) != nil
    else { throw ValidationError("numbers are positive, and there is a block at least") }
  }

  private var blockParameters: Int { Int(exactly: block) ?? 0 }

  func run() throws {
    let blocks = Int(parameters) / blockParameters
    let scratch = try ScratchDirectory(in: directory)
    defer { extendLifetime(scratch) }
    let place = scratch.path
    let bufferBytes = ByteCount(parsing: buffers)?.bytes ?? 0
    var tensor = try PagedTensor(
      directory: "\(place)/store", blocks: blocks, blockParameters: blockParameters,
      bufferBytes: bufferBytes, turnsBack: !cyclic, threads: threads)
    let raw = try RawMix(
      directory: place, bytes: 12 * blocks * blockParameters, windowBytes: bufferBytes)

    var contest = Contest(
      bench: "swap-update",
      subject: "\(blocks * blockParameters) parameters in \(blocks) records, \(buffers) of buffers",
      unit: "GB/s", rounds: rounds)
    contest.ceilings = ["plain reads and writes"]
    let updates = updates
    let report = try contest.run([
      Entrant("plain reads and writes") { try raw.run() },
      Entrant("AdamW, paged") {
        let before = tensor.moved
        let time = try seconds { try tensor.update(times: updates) }
        let moved = tensor.moved
        let bytes = Double(moved.read - before.read + moved.written - before.written)
        return Outcome(
          rate: bytes / time / 1e9, checksum: tensor.checksum,
          figures: [
            "update_s": time / Double(updates), "commit_s": tensor.commitSeconds,
            "read_bytes": Double(moved.read - before.read) / Double(updates),
            "write_bytes": Double(moved.written - before.written) / Double(updates),
            "stall_share": (moved.stall - before.stall) / time,
            "peak_rss_bytes": Double(PeakMemory.bytes),
          ])
      },
    ])
    try report.print()
  }
}

import ArgumentParser
import Base
import BenchHarness
import Foundation
import Training

/// Whether the cost of a step grows with what it touches, and memory with nothing.
struct LinearBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "linear", abstract: "Step time per touched GiB, as the experts' state grows.",
    discussion: """
      One shape of expert, one batch, one ceiling on memory, and more and more experts. The batch \
      is so small that the drive decides; then the time of a step by the GiB of records that it \
      touched must be the same for all, and so must the most memory in use. A small pool keeps \
      what the smallest state finds in memory from mattering. Sizes whose store, twice the state, \
      does not fit on the drive beside --spare are left out, with a line on stderr.

        bench/linear
        .build/release/PagedBench linear CONFIG --state 1GiB,4GiB --pool 256MiB
      """)

  @OptionGroup var arguments: RunArguments
  @Argument(help: "Overrides, key.path=value.") var overrides: [String] = []
  @Option(help: "Sizes of the experts' weights and moments, comma-separated.")
  var state = "1GiB,4GiB,16GiB,32GiB"
  @Option(help: "Page frames; the ceiling is what the largest state needs beside them, too.")
  var pool = "64MiB"
  @Option(help: "Steps of a run, the first two uncounted.") var steps = 4
  @Option(help: "Interleaved rounds.") var rounds = 1
  @Option(help: "Source tokens of a step, and target tokens.") var tokens = 256
  @Option(help: "Room on the drive that is left alone.") var spare = "4GiB"
  @Option(help: "Width of the model; experts are four times as wide.") var width = 512

  private static let layers = 2

  func validate() throws {
    guard steps > RunArguments.uncounted, rounds > 0, tokens >= 64, width > 0, width % 64 == 0
    else { throw ValidationError("more than two steps, 64 tokens, and whole heads of 64") }
    let sizes = state.split(separator: ",").map(String.init)
    for size in [pool, spare] + sizes where ByteCount(parsing: size) == nil {
      throw ValidationError("\(size) is no size")
    }
    guard !sizes.isEmpty, ([pool] + sizes).allSatisfy({ bytes($0) > 0 }) else {
      throw ValidationError("--state is sizes with commas, and neither they nor --pool are 0")
    }
  }

  func run() throws {
    // Told of before anything is.
    _ = try config(1, memory: bytes(pool))
    let sizes = try state.split(separator: ",").map(String.init).filter(fits)
    guard let largest = sizes.map(bytes).max() else {
      throw NoRoom(directory: arguments.scratch)
    }
    let memory = try RunNeeds(try config(largest, memory: bytes(pool))).fixedBytes + bytes(pool)
    var contest = Contest(
      bench: "linear",
      subject: "experts \(width) x \(4 * width), \(tokens) tokens a side, in \(ByteCount(memory))",
      unit: "touched GiB/s", rounds: rounds)
    contest.warmups = 0
    var report = try contest.run(try sizes.map { try entrant($0, memory: memory) })
    let rates = report.entrants.map(\.rate.median)
    let peaks = report.entrants.compactMap { $0.figures["peak_rss_bytes"] }
    report.figures = [
      "most_to_least_seconds_per_touched_gib": rates.max()! / rates.min()!,
      "most_to_least_peak_memory": (peaks.max() ?? 0) / (peaks.min() ?? 1),
      "memory_bytes": Double(memory),
    ]
    try report.print()
  }

  private func entrant(_ size: String, memory: Int) throws -> Entrant {
    let config = try config(bytes(size), memory: memory)
    let (steps, scratch) = (steps, arguments.scratch)
    return Entrant(size) {
      let run = try MeasuredRun(config, steps: steps, scratch: scratch)
      let touched = run.touchedBytesPerStep / 0x1p30
      let figures = [
        "state_bytes": Double(run.stateBytes), "touched_gib": touched,
        "seconds_per_touched_gib": run.stepSeconds / touched,
      ]
      return Outcome(
        rate: touched / run.stepSeconds, checksum: run.losses,
        figures: figures.merging(run.figures) { $1 })
    }
  }

  private func bytes(_ size: String) -> Int { ByteCount(parsing: size)?.bytes ?? 0 }

  /// Whether a store of this state fits: each block has a record in a generation and one in the next.
  private func fits(_ size: String) throws -> Bool {
    let scratch = arguments.scratch
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    let attributes = try FileManager.default.attributesOfFileSystem(forPath: scratch)
    let free = (attributes[.systemFreeSize] as? NSNumber)?.intValue ?? 0
    guard 2 * bytes(size) + bytes(spare) < free else {
      FileHandle.standardError.write(
        Data("\(size): its store does not fit on the drive beside \(spare)\n".utf8))
      return false
    }
    return true
  }

  /// The configuration with as many experts as the state holds.
  private func config(_ state: Int, memory: Int) throws -> RunConfig {
    let expertBytes = 12 * 8 * width * width
    let settings = [
      "model.d_model=\(width)", "model.ffn_dim=\(4 * width)",
      "model.num_attention_heads=\(width / 64)", "model.encoder_layers=\(Self.layers)",
      "model.decoder_layers=\(Self.layers)", "model.sparse_step=1",
      "model.num_experts=\(max(2, state / (2 * Self.layers * expertBytes)))",
      "model.capacity_factor=4", "training.micro_batch_tokens=\(tokens)",
      "training.gradient_accumulation_steps=1", "data.max_sequence_tokens=64",
      "training.clip=block", "checkpoint.keep=1", "storage.block_bytes=8MiB",
      "memory.budget=\(memory)",
    ]
    return try RunConfig.load(path: arguments.config, overrides: settings + overrides)
  }
}

/// Ends the command without its usage, which nobody got wrong.
private struct NoRoom: Error, CustomStringConvertible {
  let directory: String
  var description: String {
    "no size fits in \(directory): give smaller ones with --state, or another --scratch"
  }
}

import Base
import Foundation
import Training

/// How much of the resident speed is left when the experts are paged, and whether the bits agree.
///
///     swift run -c release PagedBench CONFIG MEMORY [STEPS [ROUNDS [key.path=value ...]]]
///
/// Resident and paged runs take turns in one process, each from the seed, with stores in a scratch
/// directory under `runs`. Prints one JSON line: tokens per second of both, medians over rounds,
/// their ratio, and a checksum of the losses, which must be the same for both.
@main
enum PagedBench {
  static func main() throws {
    let arguments = CommandLine.arguments.dropFirst().map { $0 }
    let positional = arguments.filter { !$0.contains("=") }
    guard positional.count >= 2 else {
      print("usage: PagedBench CONFIG MEMORY [STEPS [ROUNDS]] [key.path=value ...]")
      exit(64)
    }
    let steps = positional.count > 2 ? Int(positional[2]) ?? 8 : 8
    let rounds = positional.count > 3 ? Int(positional[3]) ?? 3 : 3
    let overrides = arguments.filter { $0.contains("=") }
    var paged: [Result] = []
    var resident: [Result] = []
    for _ in 0..<rounds {
      for (mode, memory) in [("resident", "16GiB"), ("paged", positional[1])] {
        let config = try RunConfig.load(
          path: positional[0],
          overrides: overrides + [
            "memory.budget=\(memory)", "memory.resident=\(mode == "resident")",
          ])
        let result = try measure(config, steps: steps)
        if mode == "paged" { paged.append(result) } else { resident.append(result) }
      }
    }
    let losses = Set((paged + resident).map(\.losses))
    let report = Report(
      bench: "paged", steps: steps, rounds: rounds, memory: positional[1],
      pagedTokensPerS: median(paged.map(\.tokensPerSecond)),
      residentTokensPerS: median(resident.map(\.tokensPerSecond)),
      ratio: median(zip(paged, resident).map { $0.tokensPerSecond / $1.tokensPerSecond }),
      stallShare: median(paged.map(\.stallShare)), hitRate: median(paged.map(\.hitRate)),
      readGbps: median(paged.map(\.readRate)), writeGbps: median(paged.map(\.writeRate)),
      sameBits: losses.count == 1, checksum: String(losses.first?.hashOfBits ?? 0, radix: 16))
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    print(String(decoding: try encoder.encode(report), as: UTF8.self))
    if losses.count != 1 { exit(70) }
  }

  private struct Report: Encodable {
    let bench: String
    let steps: Int
    let rounds: Int
    let memory: String
    let pagedTokensPerS: Double
    let residentTokensPerS: Double
    let ratio: Double
    let stallShare: Double
    let hitRate: Double
    let readGbps: Double
    let writeGbps: Double
    let sameBits: Bool
    let checksum: String
  }

  private struct Result {
    let losses: [UInt64]
    let tokensPerSecond: Double
    let stallShare: Double
    let hitRate: Double
    let readRate: Double
    let writeRate: Double
  }

  /// `steps` steps from the seed. The first two are left out of the speed: they draw the initial
  /// weights and find the drive's blocks unwritten.
  private static func measure(_ config: RunConfig, steps: Int) throws -> Result {
    let scratch = "runs/bench-\(getpid())"
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: scratch) }
    var session = try TrainingSession(config, storePaths: ["\(scratch)/store"])
    var losses: [UInt64] = []
    var timed: [StepMetrics] = []
    for step in 0..<steps {
      let metrics = try session.runStep()
      losses.append(metrics.loss.bitPattern)
      if step >= 2 { timed.append(metrics) }
    }
    let seconds = timed.reduce(0) { $0 + $1.step_s }
    let visits = timed.reduce(0) { $0 + $1.visits }
    return Result(
      losses: losses,
      tokensPerSecond: Double(timed.reduce(0) { $0 + $1.tokens }) / seconds,
      stallShare: timed.reduce(0) { $0 + $1.stall_s } / seconds,
      hitRate: Double(timed.reduce(0) { $0 + $1.hits }) / Double(max(1, visits)),
      readRate: Double(timed.reduce(0) { $0 + $1.read_bytes }) / seconds / 1e9,
      writeRate: Double(timed.reduce(0) { $0 + $1.write_bytes }) / seconds / 1e9)
  }

  private static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted()
    guard !sorted.isEmpty else { return 0 }
    return (sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
  }
}

extension [UInt64] {
  /// FNV-1a over the words: a short name for a list of losses.
  fileprivate var hashOfBits: UInt64 {
    reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ $1) &* 0x100_0000_01b3 }
  }
}

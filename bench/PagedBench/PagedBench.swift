import Base
import Foundation
import Training

/// How much of the resident speed is left when the experts are paged, and whether the bits agree.
///
///     swift run -c release PagedBench CONFIG MEMORY [STEPS [ROUNDS]] [key.path=value ...]
///       [--variant key.path=value[,key.path=value ...]] ...
///
/// The resident run and the paged ones, one for each `--variant` and one without, take turns in one
/// process, each from the seed, with stores in a scratch directory under `runs`. Prints one JSON
/// line for each paged run: tokens per second, medians over rounds, the ratio to the resident run
/// of the same round, and a checksum of the losses, which must be the same for all.
@main
enum PagedBench {
  static func main() throws {
    let arguments = try Arguments(CommandLine.arguments.dropFirst().map { $0 })
    var resident: [Result] = []
    var paged = arguments.variants.map { _ in [Result]() }
    for _ in 0..<arguments.rounds {
      resident.append(
        try measure(arguments, memory: "16GiB", overrides: ["memory.resident=true"]))
      for (index, variant) in arguments.variants.enumerated() {
        paged[index].append(
          try measure(arguments, memory: arguments.memory, overrides: variant))
      }
    }
    let losses = Set((paged.flatMap(\.self) + resident).map(\.losses))
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    encoder.keyEncodingStrategy = .convertToSnakeCase
    for (variant, results) in zip(arguments.variants, paged) {
      let report = report(arguments, variant, results, resident, losses)
      print(String(decoding: try encoder.encode(report), as: UTF8.self))
    }
    if losses.count != 1 { exit(70) }
  }

  private struct Arguments {
    let config: String
    let memory: String
    let steps: Int
    let rounds: Int
    let overrides: [String]
    /// Overrides of each paged run; the first has none.
    let variants: [[String]]

    init(_ arguments: [String]) throws {
      var positional: [String] = []
      var overrides: [String] = []
      var variants: [[String]] = [[]]
      var rest = arguments[...]
      while let argument = rest.popFirst() {
        if argument == "--variant", let variant = rest.popFirst() {
          variants.append(variant.split(separator: ",").map(String.init))
        } else if argument.contains("=") {
          overrides.append(argument)
        } else {
          positional.append(argument)
        }
      }
      let numbers = positional.dropFirst(2).map { Int($0) ?? 0 }
      guard 2...4 ~= positional.count, numbers.allSatisfy({ $0 > 0 }) else {
        print(
          "usage: PagedBench CONFIG MEMORY [STEPS [ROUNDS]] [key.path=value ...] [--variant ...]")
        exit(64)
      }
      (config, memory) = (positional[0], positional[1])
      steps = numbers.first ?? 8
      rounds = numbers.count > 1 ? numbers[1] : 3
      self.overrides = overrides
      self.variants = variants
    }
  }

  private static func report(
    _ arguments: Arguments, _ variant: [String], _ paged: [Result], _ resident: [Result],
    _ losses: Set<[UInt64]>
  ) -> Report {
    Report(
      bench: "paged", variant: variant.joined(separator: ","), steps: arguments.steps,
      rounds: arguments.rounds, memory: arguments.memory,
      pagedTokensPerS: median(paged.map(\.tokensPerSecond)),
      residentTokensPerS: median(resident.map(\.tokensPerSecond)),
      ratio: median(zip(paged, resident).map { $0.tokensPerSecond / $1.tokensPerSecond }),
      stallShare: median(paged.map(\.stallShare)), hitRate: median(paged.map(\.hitRate)),
      readGbps: median(paged.map(\.readRate)), writeGbps: median(paged.map(\.writeRate)),
      sameBits: losses.count == 1, checksum: String(losses.first?.hashOfBits ?? 0, radix: 16))
  }

  private struct Report: Encodable {
    let bench: String
    let variant: String
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
  private static func measure(
    _ arguments: Arguments, memory: String, overrides: [String]
  ) throws -> Result {
    let config = try RunConfig.load(
      path: arguments.config,
      overrides: arguments.overrides + ["memory.budget=\(memory)"] + overrides)
    let scratch = "runs/bench-\(getpid())"
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: scratch) }
    var session = try TrainingSession(config, storePaths: ["\(scratch)/store"])
    var losses: [UInt64] = []
    var timed: [StepMetrics] = []
    for step in 0..<arguments.steps {
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
}

extension [UInt64] {
  /// FNV-1a over the words: a short name for a list of losses.
  fileprivate var hashOfBits: UInt64 {
    reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ $1) &* 0x100_0000_01b3 }
  }
}

import ArgumentParser

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure what this machine can do, as a share of its ceiling.",
    subcommands: [BenchSwap.self, BenchMemory.self])
}

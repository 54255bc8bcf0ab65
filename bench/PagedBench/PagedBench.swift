import ArgumentParser
import Training

/// How much of the resident speed is left when the experts are paged.
@main
struct PagedBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures paged training: against resident training, and as the state grows.",
    discussion: """
      Runs take turns in one process, each from the seed, with stores below --scratch. The first \
      two steps of a run do not count: they draw the initial weights and find the drive's blocks \
      unwritten. A table goes to stderr, a line of JSON to stdout.
      """,
    subcommands: [BudgetBench.self, LinearBench.self], defaultSubcommand: BudgetBench.self)
}

/// What a configuration is and how it is run, told like `pagoda train`'s: a file, then overrides, then
/// numbers.
struct RunArguments: ParsableArguments {
  @Argument(help: "The configuration, a YAML file.") var config: String
  @Option(help: "Where stores are made and removed: on the drive to be measured.")
  var scratch = "runs"

  static let uncounted = 2

  static func overrides(_ words: [String]) -> [String] { words.filter { $0.contains("=") } }

  /// The words that are numbers, all of them positive.
  static func numbers(_ words: [String]) throws -> [Int] {
    try words.filter { !$0.contains("=") }.map { word in
      guard let number = Int(word), number > 0 else {
        throw ValidationError("\(word) is neither a positive number nor key.path=value")
      }
      return number
    }
  }
}

import ArgumentParser
import Base
import Surgery
import Training

struct ExpertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "expert", abstract: "Look into the experts of a run.",
    subcommands: [Stats.self])

  struct Stats: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "How evenly the experts of each layer have been used in training.",
      discussion: "  pagoda expert stats runs/quickstart")

    @Argument(help: ArgumentHelp("The run directory.", valueName: "run"))
    var runDirectory: String

    @Option(help: "A directory of the store, as given to train. Default: the run's.")
    var store: [String] = []

    @Flag(help: "Print one JSON object with the tokens of every expert.")
    var json = false

    func run() throws {
      try reportingFailures {
        let (config, store) = try openStore(RunDirectory(runDirectory), paths: store)
        let mixtures = try config.mixtures()
        let usage = ExpertUsage(store, layers: mixtures.layers, experts: mixtures.experts)
        if json { return try Output.json(usage) }
        let rows = usage.layers.map {
          [
            "\($0.layer)", "\($0.touched) of \($0.experts)", fixed($0.evenness, 3),
            "\(fixed(100 * $0.largestShare, 1)) %", "\($0.tokens.min() ?? 0)",
            "\($0.tokens.max() ?? 0)",
          ]
        }
        let head = [
          "layer", "touched", "evenness", "largest share", "fewest tokens", "most tokens",
        ]
        for line in table([head] + rows) { Output.result(line) }
      }
    }
  }
}

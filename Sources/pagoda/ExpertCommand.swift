import ArgumentParser
import Base
import Surgery
import Training

struct ExpertCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "expert",
    abstract: "Look into the experts of a run; drop some, unite two runs', take a task's out.",
    discussion: """
        pagoda expert stats runs/mine --held-out
        pagoda expert prune runs/mine runs/small --share 0.25
        pagoda expert extract runs/mine runs/de-en --task de-en
        pagoda expert aggregate runs/a runs/b runs/both
      """,
    subcommands: [Stats.self, Prune.self, Extract.self, Aggregate.self])
}

/// The run that a command about experts looks at.
struct SourceOptions: ParsableArguments {
  @Argument(help: ArgumentHelp("The run directory.", valueName: "run"))
  var runDirectory: String

  @Option(help: "A directory of its store, as given to train. Default: the run's.")
  var store: [String] = []

  @Option(help: "Memory ceiling of this command. Default: the run's.")
  var memory: ByteCount?

  @Flag(help: "Print one JSON object.")
  var json = false

  var directory: RunDirectory { RunDirectory(runDirectory) }

  func config() throws -> RunConfig { try directory.config(storePaths: store) }

  func memory(_ config: RunConfig) throws -> Int {
    try memory?.bytes ?? config.bytes(config.memory.budget, key: "memory.budget")
  }

  /// Which experts the held-out text goes to.
  func usage(_ config: RunConfig) throws -> HeldOutUsage {
    try HeldOutUsage(directory, config, memory: memory(config))
  }
}

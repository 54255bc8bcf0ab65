import ArgumentParser
import Base
import Training

/// What all commands ask for that read a run and have its model say something.
struct SpeakingOptions: ParsableArguments {
  @Argument(help: ArgumentHelp("The run directory.", valueName: "run"))
  var runDirectory: String

  @OptionGroup var text: TextOptions

  @Option(help: "The ceiling on the memory of the whole process. Default: the run's.")
  var memory: ByteCount?

  @Option(help: "A directory of the store, as given to train. Default: the run's.")
  var store: [String] = []

  @Flag(help: "Print one JSON object.")
  var json = false

  /// The run, its configuration and the memory ceiling.
  /// - Throws: `TrainingError.noRun`, `ConfigError`.
  func open() throws -> (run: RunDirectory, config: RunConfig, memory: Int) {
    let directory = RunDirectory(runDirectory)
    let config = try directory.config(storePaths: store)
    let ceiling = try memory?.bytes ?? config.bytes(config.memory.budget, key: "memory.budget")
    return (directory, config, ceiling)
  }

  func generator() throws -> TextGenerator {
    let (run, config, memory) = try open()
    return try TextGenerator(run, config, memory: memory, text.settings)
  }
}

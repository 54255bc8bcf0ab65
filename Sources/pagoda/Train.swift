import ArgumentParser
import Base
import Foundation
import Storage
import Training

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a model whose experts live on disk.",
    discussion: """
      The same command again continues the run, bit for bit. SIGINT and SIGTERM finish the step,
      commit, and exit 75.

        pagoda train tools/examples/quickstart.yaml --run runs/mine
        pagoda train tools/examples/quickstart.yaml --run runs/mine --memory 2GiB --steps 400
        pagoda train tools/examples/quickstart.yaml --run runs/try training.learning_rate=1e-3
        pagoda train tools/examples/quickstart.yaml --run runs/mine --trace trace.json
      """)

  @Argument(help: "The configuration, a YAML file.")
  var config: String

  @Argument(help: "Overrides, key.path=value.")
  var overrides: [String] = []

  @Option(name: .customLong("run"), help: "The run directory.")
  var runDirectory: String

  @Option(help: "The ceiling on the memory of the whole process, such as 512MiB.")
  var memory: ByteCount?

  @Option(help: "A directory for the store; give it once for each drive. Default: RUN/store.")
  var store: [String] = []

  @Option(help: "The step to end with. Default: training.max_steps.")
  var steps: Int?

  @Flag(help: "Keep every block in memory; write the disk at commits only.")
  var resident = false

  @Flag(help: "Refuse to start over: continue from a committed generation.")
  var resume = false

  @Flag(help: "Delete the run in the run directory and its store, and start over.")
  var fresh = false

  @Option(
    help: ArgumentHelp(
      "Draw a timeline of steps into a file, for ui.perfetto.dev or chrome://tracing.",
      discussion: "A file that is there is replaced when the steps are done.", valueName: "file"))
  var trace: String?

  @Option(
    help: ArgumentHelp(
      "The steps of the timeline. Default: the first \(TraceRequest.firstSteps) that this command makes.",
      valueName: "first-last"))
  var traceSteps: StepRange?

  @Flag(help: "Print one JSON object, the summary, on stdout.")
  var json = false

  func validate() throws {
    if resume && fresh { throw ValidationError("--resume and --fresh exclude each other") }
    if let steps, steps < 1 { throw ValidationError("--steps must be at least 1") }
    if traceSteps != nil, trace == nil {
      throw ValidationError("--trace-steps says which steps --trace draws: give both")
    }
    if trace == "" { throw ValidationError("--trace needs the path of a file") }
  }

  func run() throws {
    try reportingFailures {
      let config = try resolvedConfig()
      let directory = RunDirectory(runDirectory)
      let stop = StopSignals.install()
      let start: Trainer.Start = fresh ? .fresh : resume ? .resume : .either
      var trainer = Trainer(
        config, run: directory, lastStep: steps, start: start,
        trace: trace.map { TraceRequest(path: $0, steps: traceSteps?.steps) },
        measureDrive: DriveProfile.measure)
      var view = TrainingView()
      let outcome = try trainer.train(isStopping: { stop.wasAsked }, observe: { view.show($0) })
      view.finish()
      guard outcome.isFinished else { throw ExitCode(ExitStatus.runAgain) }
      let summary = try RunSummary(
        outcome, trainer.config, directory, isStopping: { stop.wasAsked })
      try summary.write(to: directory.summary)
      if json {
        try Output.json(summary)
      } else {
        for line in summary.lines() { Output.result(line) }
      }
    }
  }

  private func resolvedConfig() throws -> RunConfig {
    var overrides = overrides
    if let memory { overrides.append("memory.budget=\(memory.bytes)") }
    if resident { overrides.append("memory.resident=true") }
    var config = try RunConfig.load(path: config, overrides: overrides)
    if !store.isEmpty { config.storage.paths = store }
    return config
  }
}

/// Steps as the command line has them: `7` or `5-9`.
struct StepRange: ExpressibleByArgument {
  let steps: ClosedRange<Int>

  init?(argument: String) {
    let ends = argument.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
    guard 1...2 ~= ends.count, let first = ends[0], let last = ends[ends.count - 1],
      first >= 1, last >= first
    else { return nil }
    steps = first...last
  }
}

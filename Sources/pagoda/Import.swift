import ArgumentParser
import Base
import Training

struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a run out of an export.",
    discussion: """
      With the moments (`pagoda export --optimizer`) the new run is at the exported step and trains
      on with the bits of the old one. Without them it starts at step 0 with the exported weights.
      After an interruption the same command begins anew.

        pagoda import exported/mine runs/copy
        pagoda import exported/mine runs/copy --corpus data/mine --store /mnt/a --store /mnt/b
        pagoda train runs/copy/config.yaml --run runs/copy
      """)

  @Argument(help: "A directory that `pagoda export` wrote.")
  var directory: String

  @Argument(help: ArgumentHelp("The run directory to make.", valueName: "run"))
  var runDirectory: String

  @Option(help: "The corpus the run was trained on, where it has moved. Default: as exported.")
  var corpus: String?

  @Option(help: "A directory for the store; give it once for each drive. Default: RUN/store.")
  var store: [String] = []

  @Option(help: "The memory ceiling of the import and of the new run. Default: as exported.")
  var memory: ByteCount?

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    try reportingFailures {
      let stop = StopSignals.install()
      let model = try ModelImport(
        directory, into: RunDirectory(runDirectory), corpus: corpus, storePaths: store,
        memory: memory?.bytes)
      var progress = ProgressLine()
      let report = try model.make(isStopping: { stop.wasAsked }) {
        progress.show("imported \($0) of \($1) blocks of experts")
      }
      progress.finish()
      if !report.hasOptimizer {
        Output.say(
          "note: \(directory) has no moments (exported without --optimizer): the run starts at "
            + "step 0 with the weights, zero moments and no history")
      }
      if json { return try Output.json(report) }
      Output.result(
        "\(runDirectory): step \(report.step), \(report.parameters) parameters, "
          + "\(report.writtenBlocks) of \(report.blocks) blocks of experts written, the others as "
          + "the seed gives them, \(fixed(report.seconds, 1)) s; continue with: pagoda train "
          + "\(runDirectory)/config.yaml --run \(runDirectory)")
    }
  }
}

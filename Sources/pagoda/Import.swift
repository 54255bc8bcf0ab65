import ArgumentParser
import Base
import Training

struct Import: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a run out of a model's folder.",
    discussion: """
      The folder of a model from Hugging Face's hub (switch, nllb-moe, mixtral, olmoe, qwen3-moe; in
      safetensors or PyTorch's .bin, float32, float16 or bfloat16) becomes a run at step 0. So does
      what `pagoda export` wrote; with the moments (`--optimizer`) it is at the exported step and
      trains on with the bits of the old run. After an interruption the same command begins anew.

        pagoda import models/switch-base-64 runs/mine --memory 3GiB
        pagoda train runs/mine/config.yaml data.corpus=pairs.jsonl --run runs/mine
        pagoda import exported/mine runs/copy --corpus data/mine --store /mnt/a --store /mnt/b
      """)

  @Argument(help: "The folder: config.json and weights, or what `pagoda export` wrote.")
  var directory: String

  @Argument(help: ArgumentHelp("The run directory to make.", valueName: "run"))
  var runDirectory: String

  @Argument(help: "Overrides of the new run's configuration, key.path=value.")
  var overrides: [String] = []

  @Option(help: "The configuration of the new run, a YAML file. Default: settings for fine-tuning.")
  var config: String?

  @Option(help: "The corpus to train on; of an export, where it has moved.")
  var corpus: String?

  @Option(help: "A directory for the store; give it once for each drive. Default: RUN/store.")
  var store: [String] = []

  @Option(help: "The memory ceiling of the import and of the new run.")
  var memory: ByteCount?

  @Flag(help: "Follow symbolic links to weights, as the cache of Hugging Face's hub has them.")
  var followLinks = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    try reportingFailures {
      let stop = StopSignals.install()
      let model = try ModelImport(directory, into: RunDirectory(runDirectory), options())
      var progress = ProgressLine()
      let report = try model.make(isStopping: { stop.wasAsked }) {
        progress.show("imported \($0) of \($1) blocks of experts")
      }
      progress.finish()
      if !report.hasOptimizer && report.family == RunConfig().model.family {
        Output.say(
          "note: \(directory) has no moments (exported without --optimizer): the run starts at "
            + "step 0 with the weights, zero moments and no history")
      }
      if json { return try Output.json(report) }
      Output.result(
        "\(runDirectory): step \(report.step), \(report.parameters) parameters, "
          + "\(report.writtenBlocks) of \(report.blocks) blocks of experts written"
          + (report.writtenBlocks < report.blocks ? ", the others as the seed gives them" : "")
          + ", \(fixed(report.seconds, 1)) s; continue with: pagoda train "
          + "\(runDirectory)/config.yaml --run \(runDirectory)")
    }
  }

  private func options() throws -> ModelImport.Options {
    var options = ModelImport.Options()
    options.corpus = corpus
    options.storePaths = store
    options.memory = memory?.bytes
    options.followsLinks = followLinks
    if config != nil || !overrides.isEmpty {
      options.config = try RunConfig.forImport(path: config, overrides: overrides)
    }
    return options
  }
}

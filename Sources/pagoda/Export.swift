import ArgumentParser
import Base
import Interchange
import Training

struct Export: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write a trained run as safetensors.",
    discussion: """
      The last committed generation goes to DIR as weights in shards with an index, with config.json
      and the tokenizer. A published model has the names it came with, and transformers loads it; a
      zcode model has those of NLLB-MoE, and what `pagoda import` needs. Experts are read one after
      another, inside the memory given.

        pagoda export runs/mine exported/mine
        pagoda export runs/mine exported/mine --dtype bfloat16
        pagoda export runs/mine exported/mine --optimizer --shard-size 2GB --memory 1GiB
      """)

  @Argument(help: ArgumentHelp("The run directory.", valueName: "run"))
  var runDirectory: String

  @Argument(help: "The directory to make. It may exist if it is empty.")
  var directory: String

  @Flag(help: "Write the optimizer's moments too, so that an import trains on with the same bits.")
  var optimizer = false

  @Option(help: "Of the weights, float32 or bfloat16.")
  var dtype = DType.float32

  enum DType: String, ExpressibleByArgument, CaseIterable { case float32, bfloat16 }

  @Option(help: "Most bytes of tensors in a file, such as 5GB.")
  var shardSize = ByteCount(ModelExport.Options().shardBytes)

  @Option(help: "The ceiling on the memory of the whole process.")
  var memory = ByteCount(ModelExport.Options().memory)

  @Option(help: "A directory of the store, as given to train. Default: the run's.")
  var store: [String] = []

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if shardSize.bytes < 1 { throw ValidationError("--shard-size must be at least 1 byte") }
    if optimizer && dtype != .float32 {
      throw ValidationError("--optimizer trains on with the same bits: it needs --dtype float32")
    }
  }

  func run() throws {
    try reportingFailures {
      let run = RunDirectory(runDirectory)
      let config = try run.config(storePaths: store)
      var options = ModelExport.Options()
      options.hasOptimizer = optimizer
      options.type = dtype == .bfloat16 ? .bf16 : .f32
      options.shardBytes = shardSize.bytes
      options.memory = memory.bytes
      let stop = StopSignals.install()
      var export = try ModelExport(run, config, options)
      var progress = ProgressLine()
      let report = try export.write(to: directory, isStopping: { stop.wasAsked }) {
        progress.show("written \(ByteCount($0)) of \(ByteCount($1))")
      }
      progress.finish()
      if json { return try Output.json(report) }
      let rate = Double(report.bytes) / max(report.seconds, 1e-3) / 1e9
      Output.result(
        "\(directory): step \(report.step), \(report.parameters) parameters"
          + (report.hasOptimizer ? " with moments" : "") + ", \(ByteCount(report.bytes)) in "
          + "\(report.files) files, \(fixed(report.seconds, 1)) s (\(fixed(rate, 2)) GB/s), peak "
          + "\(ByteCount(report.peakRssBytes)) under \(ByteCount(report.memoryBudgetBytes))")
    }
  }
}

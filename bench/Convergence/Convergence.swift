import ArgumentParser
import BenchHarness
import ConvergenceTrials
import Foundation
import Training

/// Whether moments, weights and boundary activations of less precision train as well as fp32.
@main
struct Convergence: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Trains a small model in every precision, from several seeds, beside fp32.",
    discussion: """
      A line for every run on stderr, and one line of JSON for what the runs of each variant come to, \
      whose ceiling is fp32. Ends with 1 when one is worse than that by more than 1 % of the held-out \
      loss, in the mean over seeds.

        swift build -c release
        .build/release/Convergence data/quickstart
        .build/release/Convergence data/quickstart --variants states-int8 model.d_model=128
      """)

  @Argument(help: "A directory that `pagoda corpus prepare` wrote.") var corpus: String
  @Argument(help: "Overrides of the small model's configuration, key.path=value.")
  var overrides: [String] = []
  @Option(help: "Steps of each run.") var steps = 500
  @Option(help: "Seeds, one after the other.") var seeds = 3
  @Option(help: "The first seed.") var first = 1
  @Option(help: "Names of variants beside fp32, with commas. Default: all.") var variants: String?

  /// A translator that learns in a minute what it can.
  private static let small = """
    model:
      d_model: 64
      encoder_layers: 2
      decoder_layers: 2
      num_attention_heads: 2
      ffn_dim: 256
      num_experts: 8
      sparse_step: 1
      capacity_factor: 2.0
    data:
      max_sequence_tokens: 64
    training:
      micro_batch_tokens: 512
      gradient_accumulation_steps: 1
      learning_rate: 3.0e-3
      warmup_steps: 50
    memory:
      budget: 4GiB
    evaluation:
      max_tokens: 16384

    """

  func validate() throws {
    guard steps > 0, seeds > 0 else { throw ValidationError("--steps and --seeds are positive") }
    for name in names where !Variant.all.contains(where: { $0.name == name }) {
      let known = Variant.all.map(\.name).joined(separator: ", ")
      throw ValidationError("no variant is called \(name); there are \(known)")
    }
  }

  private var names: [String] {
    guard let variants else { return Variant.all.map(\.name) }
    return [Variant.standard.name] + variants.split(separator: ",").map(String.init)
  }

  func run() throws {
    let scratch = try ScratchDirectory(in: FileManager.default.temporaryDirectory.path)
    defer { extendLifetime(scratch) }
    var trials: [Trial] = []
    for seed in first..<first + seeds {
      for variant in Variant.all where names.contains(variant.name) {
        let config = try RunConfig.parse(
          Self.small, name: "the small model",
          overrides: ["data.corpus=\(corpus)", "training.max_steps=\(steps)"] + variant.overrides
            + overrides)
        let store = "\(scratch.path)/\(variant.name)-\(seed)"
        let trial = try Trial(variant, config, seed: seed, store: store)
        try? FileManager.default.removeItem(atPath: store)
        show(trial)
        trials.append(trial)
      }
    }
    let verdicts = Verdict.all(trials)
    guard let standard = verdicts.first else { preconditionFailure("fp32 is always among them") }
    try printLine(Report(trials, verdicts, ceiling: standard))
    guard verdicts.allSatisfy(\.isWithinBound) else { throw ExitCode.failure }
  }

  /// At once: such runs take a while.
  private func show(_ trial: Trial) {
    let line =
      "\(trial.variant), seed \(trial.seed): held-out loss \(trial.heldOutLoss) after "
      + "\(trial.steps) steps, \(Int(trial.seconds)) s\n"
    FileHandle.standardError.write(Data(line.utf8))
  }
}

private struct Report: Encodable {
  let bench = "convergence"
  let commit = Provenance.commit
  let date = Provenance.date
  let machine = Machine.this
  let ceiling: Verdict
  /// Of fp32's held-out loss to the largest of a variant.
  let ratio: Double
  /// Of the losses of all runs.
  let checksum: String
  let variants: [Verdict]
  let trials: [Trial]

  init(_ trials: [Trial], _ verdicts: [Verdict], ceiling: Verdict) {
    var losses = Checksum()
    for trial in trials {
      losses.add(trial.trainingLoss)
      losses.add(trial.heldOutLoss)
    }
    let largest = verdicts.map(\.heldOutLoss).max() ?? ceiling.heldOutLoss
    (self.ceiling, ratio, checksum) = (ceiling, ceiling.heldOutLoss / largest, losses.text)
    (variants, self.trials) = (verdicts, trials)
  }
}

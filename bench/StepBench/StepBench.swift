import ArgumentParser
import Base
import BenchHarness
import Foundation
import Models
import Training

/// Steps of a run, one after the other, for somebody who races them.
@main
struct StepBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs steps of a run when told to, and times them.",
    discussion: """
      Opens the run directory RUN, whose store exists, and changes nothing on the disk: nothing is \
      committed. Numbers on standard input, a line each, are steps to run; each is answered by a line \
      of JSON with their losses, seconds and tokens. Standard input ends, and so does this.

      --batches writes the token ids that the first steps learn from, for whoever computes the \
      same; `bench/peers/transformers` does.

        echo 5 | .build/release/StepBench runs/switch data.corpus=pairs.jsonl --batches batches.json
      """)

  @Argument(help: "The run directory.") var runDirectory: String
  @Argument(help: "Overrides, key.path=value.") var overrides: [String] = []
  @Option(help: "A file to write the first batches to.") var batches: String?
  @Option(help: "How many of them.") var steps = 8

  func validate() throws {
    guard steps > 0 else { throw ValidationError("--steps is positive") }
  }

  func run() throws {
    let directory = RunDirectory(runDirectory)
    let config = try RunConfig.load(path: "\(runDirectory)/config.yaml", overrides: overrides)
      .resolved(in: directory)
    var session = try TrainingSession(
      config, storePaths: Trainer.storePaths(config, directory), beginning: .existing)
    if let batches {
      let written = (0..<steps).map { BatchTokens(session.batch(step: session.nextStep + $0)) }
      try JSONEncoder().encode(written).write(to: URL(fileURLWithPath: batches))
    }
    var losses = Checksum()
    while let line = readLine() {
      guard let count = Int(line), count > 0 else {
        throw ValidationError("\(line) is no number of steps")
      }
      var answer = Answer()
      for _ in 0..<count {
        let metrics = try session.runStep()
        losses.add(metrics.loss)
        answer.losses.append(metrics.loss)
        answer.seconds.append(metrics.step_s)
        answer.tokens.append(metrics.tokens)
        answer.stallSeconds.append(metrics.allStallSeconds)
      }
      answer.checksum = losses.text
      try printLine(answer)
    }
  }
}

private struct Answer: Encodable {
  var losses: [Double] = []
  var seconds: [Double] = []
  var stallSeconds: [Double] = []
  var tokens: [Int] = []
  /// Of all losses so far.
  var checksum = ""
  let commit = Provenance.commit
}

/// A global batch as lists of token ids, a list for each sequence.
private struct BatchTokens: Encodable {
  /// Empty of a decoder alone.
  let source: [[Int32]]
  /// Decoder input.
  let target: [[Int32]]
  /// What each decoder row is to predict; -100: nothing.
  let labels: [[Int32]]

  init(_ batch: PackedBatch) {
    source = batch.source.sequences.map { Array(batch.source.tokens[$0]) }
    target = batch.target.sequences.map { Array(batch.target.tokens[$0]) }
    labels = batch.target.sequences.map { Array(batch.labels[$0]) }
  }
}

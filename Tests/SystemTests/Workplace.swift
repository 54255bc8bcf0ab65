import Foundation
import TestSupport
import Testing
import Training

/// A directory for one test, with a configuration of a model so small that a run takes a moment:
/// four layers with eight experts each, whose state is 1.5 MiB in records of 48 KiB.
final class Workplace {
  static let layers = 4
  static let experts = 8
  static let width = 32
  static let hidden = 64

  let directory: TemporaryDirectory
  /// Its `config.yaml`.
  let config: String

  init() throws {
    directory = try TemporaryDirectory()
    config = directory.path + "/config.yaml"
    try directory.write(
      """
      model:
        d_model: \(Self.width)
        encoder_layers: 2
        decoder_layers: 2
        num_attention_heads: 2
        ffn_dim: \(Self.hidden)
        num_experts: \(Self.experts)
        sparse_step: 1
      data: {corpus: \(try Self.corpus), max_sequence_tokens: 64}
      training:
        max_steps: 8
        micro_batch_tokens: 128
        gradient_accumulation_steps: 2
        warmup_steps: 4
      memory: {budget: 128MiB}
      checkpoint: {every: 3}
      evaluation: {every: 0, max_tokens: 256}
      compute: {threads: 1}
      """, "config.yaml")
  }

  static var corpus: String { get throws { try Fixture.shared.directory.path + "/corpus" } }

  func path(_ name: String) -> String { directory.path + "/" + name }

  /// The command that trains in `run`.
  func training(_ run: String, _ more: [String] = []) -> [String] {
    ["train", config, "--run", path(run)] + more
  }

  func train(
    _ run: String, _ more: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Ending {
    try Pagoda.run(training(run, more), sourceLocation: sourceLocation)
  }

  /// Trains to the end.
  func trained(
    _ run: String, _ more: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let ending = try Pagoda.run(training(run, more), sourceLocation: sourceLocation)
    try #require(ending.exitCode == 0, "\(ending.errors)", sourceLocation: sourceLocation)
  }

  func translate(
    _ run: String, _ input: String, _ more: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Ending {
    try Pagoda.run(
      ["translate", path(run), "--to", "de"] + more, input: input, sourceLocation: sourceLocation)
  }
}

// MARK: What a run leaves

extension Workplace {
  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

  func bytes(_ name: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: path(name)))
  }

  /// Every file below `name` with its bytes, to see that a refusal changed nothing.
  func contents(_ name: String) throws -> [String: Data] {
    var found: [String: Data] = [:]
    for entry in try FileManager.default.subpathsOfDirectory(atPath: path(name)) {
      let url = URL(fileURLWithPath: path("\(name)/\(entry)"))
      if try url.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true {
        found[entry] = try Data(contentsOf: url)
      }
    }
    return found
  }

  func metrics(_ run: String) -> [StepMetrics] {
    JSONLines<StepMetrics>.read(path(run) + "/metrics.jsonl")
  }

  func summary(_ run: String) throws -> RunSummary {
    try JSONDecoder().decode(RunSummary.self, from: bytes("\(run)/summary.json"))
  }

  /// What every step computed, digit for digit as `metrics.jsonl` has it.
  func printedLosses(_ run: String) throws -> [String] {
    let keys = ["step", "loss", "aux_loss", "grad_norm", "tokens", "experts_touched"]
    return try lines("\(run)/metrics.jsonl").map { line in
      try keys.map { try printed($0, in: line) }.joined(separator: " ")
    }
  }

  /// The same of the evaluations.
  func printedEvaluations(_ run: String) throws -> [String] {
    try lines("\(run)/evaluations.jsonl").map {
      try printed("step", in: $0) + " " + printed("loss", in: $0)
    }
  }

  func lines(_ name: String) throws -> [String] {
    String(decoding: try bytes(name), as: UTF8.self).split(separator: "\n").map(String.init)
  }

  /// The text of a number of a JSON object without nested objects that have the same key.
  private func printed(_ key: String, in line: String) throws -> String {
    let start = try #require(line.range(of: "\"\(key)\":"), "\(key) in \(line)").upperBound
    return String(line[start...].prefix { !",}".contains($0) })
  }
}

/// Waits until `condition` holds.
func waitUntil(
  sourceLocation: SourceLocation = #_sourceLocation, _ condition: () -> Bool
) throws {
  let start = ContinuousClock.now
  while !condition() {
    try #require(
      ContinuousClock.now - start < .seconds(Pagoda.patience), "waited in vain",
      sourceLocation: sourceLocation)
    usleep(2_000)
  }
}

import Foundation
import Interchange
import Kernels
import Models
import Optimizers
import TestSupport
import Testing
import Training

/// Published models out of a store, with all blocks in memory and with the fewest: what transformers
/// computes, and the same bits.
@Suite struct PagedGoldenTests {
  static let names = ["switch-tiny", "switch-tiny-gelu", "mixtral-tiny", "qwen3-moe-tiny"]

  /// One step after another, by AdamW as torch has it; an expert without tokens is skipped.
  @Test(arguments: names) func resumedStepsHaveTheLossesOfTransformers(_ name: String) throws {
    var bits: [[UInt64]] = []
    for frames in [CheckpointSession.Frames.all, .fewest] {
      let golden = try Golden(name)
      let batch = try golden.batch(.padded, golden.configuration())
      var session = try Self.session(golden, batch, frames)
      let evaluated = try session.forward(batch, mode: .evaluation)
      let logits = try #require(golden.logits(.padded, "eval"))
      let worst = zip(evaluated.logits.values, logits).map { abs($0 - $1) }.max() ?? 1
      #expect(worst < 2e-5, "\(name): \(worst)")
      var losses = try (0..<3).map { _ in try session.runStep(batch) }
      losses.append(try session.forward(batch, mode: .training).loss)
      let wanted = try #require(golden.adamLosses(.padded, "skip_missing"))
      for (ours, theirs) in zip(losses, wanted) {
        #expect(abs(ours - theirs) < 5e-5, "\(name): \(losses), \(wanted)")
      }
      bits.append(losses.map(\.bitPattern))
    }
    #expect(bits[0] == bits[1], "\(name)")
  }

  private static func session(
    _ golden: Golden, _ batch: PackedBatch, _ frames: CheckpointSession.Frames
  ) throws -> CheckpointSession {
    let path = golden.folder + "/config.json"
    let description = try ModelDescription(golden.configuration(), path: path)
    var options = CheckpointSession.Options()
    options.optimizer = AdamW(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1)
    options.learningRate = 3e-3
    options.decaysVectors = true
    options.frames = frames
    let directory = try TemporaryDirectory()
    return try CheckpointSession(
      CheckpointFolder(golden.folder), description, limits: golden.limits(batch),
      store: directory.path + "/store", options)
  }
}

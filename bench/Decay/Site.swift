import Base
import Foundation
import Storage
import Training

/// Where the run is, under TMPDIR, and what it is.
struct Site {
  let path: String
  let config: RunConfig

  var paths: [String] { ["a", "b"].map { path + "/" + $0 } }
  /// Nothing is remembered of such drives.
  private var profiles: DriveProfiles { DriveProfiles(path: path + "/none.json") }

  /// - Parameter corpus: the directory of a prepared corpus.
  init(corpus: String) throws {
    let path = NSTemporaryDirectory() + "pagoda-decay-\(getpid())"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    self.path = path
    config = try Self.leastBudget(Self.tiny(corpus), path + "/budget")
  }

  func remove() { try? FileManager.default.removeItem(atPath: path) }

  func session() throws -> TrainingSession {
    try TrainingSession(config, storePaths: paths, profiles: profiles)
  }

  /// As small as is possible with slices, several layers, and more experts than a few steps reach.
  private static func tiny(_ corpus: String) -> RunConfig {
    var config = RunConfig()
    config.seed = 11
    config.data.corpus = corpus
    config.data.max_sequence_tokens = 40
    config.model.d_model = 16
    config.model.encoder_layers = 2
    config.model.decoder_layers = 2
    config.model.num_attention_heads = 2
    config.model.ffn_dim = 32
    config.model.num_experts = 16
    config.training.micro_batch_tokens = 40
    config.training.gradient_accumulation_steps = 1
    config.training.learning_rate = 3e-3
    config.training.warmup_steps = 4
    config.evaluation.max_tokens = 64
    config.compute.threads = 1
    config.checkpoint.keep = 3
    // 16 * 32 * 2 parameters of 12 bytes are 12 KiB: an expert is cut into two slices.
    config.storage.block_bytes = "6KiB"
    return config
  }

  /// With the least budget that is accepted, so that most records are read in every step: what the
  /// refusals say is missing is added until none comes.
  private static func leastBudget(_ config: RunConfig, _ store: String) throws -> RunConfig {
    var config = config
    var budget = 1 << 20
    while true {
      config.memory.budget = "\(budget)"
      do {
        _ = try TrainingSession(
          config, storePaths: [store], profiles: DriveProfiles(path: store + ".json"))
        try FileManager.default.removeItem(atPath: store)
        return config
      } catch let refusal as MemoryRefusal {
        budget += refusal.missing
      }
    }
  }
}

import Base
import Corpus
import Foundation
import Storage
import Surgery
import TestSupport
import Training

/// Runs of a very small model over the test corpus, each in a directory of its own.
struct SmallRun {
  let directory: TemporaryDirectory
  var config: RunConfig

  /// Two layers with experts, the encoder's gate by token.
  init(decoderGate: String = "target_language", perToken: Int = 2, seed: Int = 11) throws {
    directory = try TemporaryDirectory()
    config = RunConfig()
    config.seed = seed
    config.data.corpus = try Fixture.shared.corpus.directory
    config.data.max_sequence_tokens = 60
    config.model.d_model = 32
    config.model.encoder_layers = 2
    config.model.decoder_layers = 2
    config.model.num_attention_heads = 2
    config.model.ffn_dim = 64
    config.model.num_experts = 6
    config.model.num_experts_per_tok = perToken
    config.model.decoder_gate = decoderGate
    config.training.micro_batch_tokens = 128
    config.training.gradient_accumulation_steps = 2
    config.training.learning_rate = 3e-3
    config.training.warmup_steps = 4
    config.training.max_steps = 20
    config.evaluation.max_tokens = 512
    config.evaluation.every = 0
    config.compute.threads = 1
    config.memory.budget = "400MiB"
    // 32 * 64 * 2 parameters of 12 bytes are 48 KiB: an expert is cut into two slices.
    config.storage.block_bytes = "24KiB"
  }

  static let slices = 2
  /// The data file of a store that was filled once: a header, a slot for every block that there may be, be
  /// it virgin, and two to spare.
  static func newStoreBytes(blocks: Int, _ record: Int) -> Int { 4096 + (blocks + 2) * record }
  var run: RunDirectory { RunDirectory(directory.path + "/run") }
  func other(_ name: String) -> RunDirectory { RunDirectory(directory.path + "/" + name) }
  var profiles: DriveProfiles { DriveProfiles(path: directory.path + "/drives.json") }

  func train(to step: Int) throws { try train(config, run, to: step) }

  @discardableResult
  func train(_ config: RunConfig, _ run: RunDirectory, to step: Int) throws -> TrainingOutcome {
    var trainer = Trainer(config, run: run, lastStep: step, profiles: profiles)
    return try trainer.train(isStopping: { false }, observe: { _ in })
  }
}

extension RunDirectory {
  /// As a command finds it.
  var saved: RunConfig { get throws { try config(storePaths: []) } }

  func store() throws -> Store { try openStore(self, paths: []).store }

  /// The checksums of the records of every block.
  func checksums() throws -> [BlockID: [UInt64]] {
    let store = try store()
    var all: [BlockID: [UInt64]] = [:]
    for block in store.writtenBlocks {
      guard let sums = store.record(of: block)?.checksums else { continue }
      all[block] = [sums.hi, sums.lo, sums.m, sums.v]
    }
    return all
  }

  /// What it makes of some sentences, with the sums of logarithms of all tokens' probabilities.
  func answers(from source: String = "de", to target: String = "en") throws -> [Answer] {
    var settings = TextGenerator.Settings()
    settings.method = .beams(BeamOptions(count: 3, lengthPenalty: 3))
    var generator = try TextGenerator(self, saved, memory: 400 << 20, settings)
    let texts = ["Seite speichern", "Die Datei ist nicht vorhanden", "Benutzer"]
    return try generator.translate(
      texts.map {
        TextPair(source: $0, target: "", sourceLanguage: source, targetLanguage: target)
      }
    ).map { Answer(text: $0.text, score: $0.score.bitPattern) }
  }

  struct Answer: Equatable {
    let text: String
    let score: UInt32
  }
}

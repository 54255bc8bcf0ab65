import Foundation
import Goldens
import Storage
import TestSupport
import Training

/// A published family in miniature: the shape of a golden with the vocabulary of a tiny tokenizer,
/// without weights; and a file of pairs to train on.
struct TinyPublished {
  let directory: TemporaryDirectory
  var config: RunConfig
  let run: RunDirectory

  /// The tokenizer of each golden, and its vocabulary.
  private static let tokenizers = [
    "switch-tiny": ("t5", 320), "nllb-moe-tiny": ("nllb", 260), "mixtral-tiny": ("llama", 500),
    "olmoe-tiny": ("llama", 500), "qwen3-moe-tiny": ("llama", 500),
  ]
  static let families = [
    ("switch-tiny", PublishedFamily.switchTransformers), ("nllb-moe-tiny", .nllbMoE),
    ("mixtral-tiny", .mixtral), ("olmoe-tiny", .olmoe), ("qwen3-moe-tiny", .qwen3MoE),
  ]

  init(_ golden: String, _ family: PublishedFamily) throws {
    directory = try TemporaryDirectory()
    let (tokenizer, vocabulary) = Self.tokenizers[golden] ?? ("t5", 320)
    let folder = directory.path + "/model"
    let layouts = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "TokenizersTests/Resources/layouts")
    try FileManager.default.copyItem(
      atPath: layouts.appending(path: tokenizer).path, toPath: folder)
    let text = try String(contentsOfFile: Golden.folder(golden) + "/config.json", encoding: .utf8)
    try text.replacing(/"vocab_size": \d+/, with: "\"vocab_size\": \(vocabulary)")
      .write(toFile: folder + "/config.json", atomically: true, encoding: .utf8)
    run = RunDirectory(directory.path + "/run")

    config = RunConfig()
    config.seed = 5
    config.model.family = family.rawValue
    config.model.path = folder
    config.model.weights = "fp32"
    config.data.corpus = try Self.pairs(in: directory, isTagged: family == .nllbMoE)
    config.data.held_out = 0.1
    config.data.max_sequence_tokens = 64
    config.training.micro_batch_tokens = 160
    config.training.gradient_accumulation_steps = 2
    config.training.learning_rate = 3e-3
    config.training.lr_scheduler_type = "constant"
    config.training.warmup_steps = 0
    config.training.max_steps = 6
    config.training.clip = "global"
    config.evaluation.every = 0
    config.evaluation.max_tokens = 512
    config.compute.threads = 1
    config.checkpoint.every = 3
    config.storage.block_bytes = "24KiB"
  }

  /// Numbers in words, and the same in digits: there is something to learn in them.
  private static func pairs(in directory: TemporaryDirectory, isTagged: Bool) throws -> String {
    let words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    let languages = isTagged ? #", "source_lang": "eng_Latn", "target_lang": "fra_Latn""# : ""
    let lines = (0..<9).flatMap { a in
      (0..<9).map { b in
        #"{"source": "\#(words[a]) and \#(words[b])", "target": "\#(a + 1) + \#(b + 1)"\#(languages)}"#
      }
    }
    let path = directory.path + "/pairs.jsonl"
    try lines.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  var profiles: DriveProfiles { DriveProfiles(path: directory.path + "/drives.json") }

  /// Trains to `last` in a run directory of its own or in `run`.
  @discardableResult
  func train(to last: Int? = nil, in run: RunDirectory? = nil) throws -> [StepMetrics] {
    var steps: [StepMetrics] = []
    var trainer = Trainer(config, run: run ?? self.run, lastStep: last, profiles: profiles)
    _ = try trainer.train(
      isStopping: { false },
      observe: { event in
        if case .step(let metrics, _) = event { steps.append(metrics) }
      })
    return steps
  }
}

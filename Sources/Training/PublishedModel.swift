import Base
import Corpus
import Foundation
package import Interchange
import Layers
import Models

/// The families whose models Hugging Face's hub has, by the names of `model.family`.
package enum PublishedFamily: String, CaseIterable, Sendable {
  case switchTransformers = "switch"
  case nllbMoE = "nllb-moe"
  case mixtral
  case olmoe
  case qwen3MoE = "qwen3-moe"

  package init(_ type: ModelConfiguration.ModelType) {
    switch type {
    case .switchTransformers: self = .switchTransformers
    case .nllbMoE, .nllbMoEOld: self = .nllbMoE
    case .mixtral: self = .mixtral
    case .olmoe: self = .olmoe
    case .qwen3MoE: self = .qwen3MoE
    }
  }

  /// What transformers does with an expert without tokens: OLMoE and NLLB-MoE call every expert, so
  /// that it has a gradient of zero; in the other families it has none.
  package var untouched: StepOptions.Untouched {
    switch self {
    case .olmoe, .nllbMoE: .decay
    case .switchTransformers, .mixtral, .qwen3MoE: .skip
    }
  }
}

/// A model of a published family: what its folder says of it, weights apart.
package struct PublishedModel: Sendable {
  package static let configName = "config.json"
  /// What is copied along with a model: everything that is neither weights nor code.
  static let smallFiles = [
    configName, "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "spiece.model", "sentencepiece.bpe.model",
    "tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja",
  ]

  package let folder: String
  package let configuration: ModelConfiguration
  /// Of the text of `config.json`, but for the type of the weights, which an export may change.
  let digest: UInt64

  var path: String { "\(folder)/\(Self.configName)" }

  /// - Throws: `InterchangeError` for a missing, malformed or unknown `config.json`.
  package init(folder: String) throws {
    self.folder = folder
    configuration = try ModelConfiguration("\(folder)/\(Self.configName)")
    let text = FileManager.default.contents(atPath: "\(folder)/\(Self.configName)") ?? Data()
    digest = StableHash.of(Self.retyped(String(decoding: text, as: UTF8.self), .f32))
  }

  package var family: PublishedFamily { PublishedFamily(configuration.type) }

  /// Whether there are weights in the folder.
  var hasWeights: Bool {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return entries.contains {
      $0.hasPrefix("model") && $0.hasSuffix(".safetensors") || $0.hasPrefix("pytorch_model")
    }
  }

  /// Whether the balance and z-losses of the routers are a part of the loss. As transformers has it,
  /// they are where the configuration asks for the routers' logits, and always in Switch.
  private func hasRouterLosses(_ config: RunConfig) -> Bool {
    switch config.model.aux {
    case "none": return false
    case "hf", "per_layer": return true
    default:
      if case .bool(let asks)? = configuration.rest["output_router_logits"] { return asks }
      return family == .switchTransformers
    }
  }

  /// The model, its experts cut into slices of at most `blockBytes`, with what `config` says of its
  /// routers' losses.
  /// - Throws: `InterchangeError.unsupported`; `TrainingError.expertTooLarge`.
  func description(_ config: RunConfig) throws -> ModelDescription {
    let blockBytes = try config.bytes(config.storage.block_bytes, key: "storage.block_bytes")
    let description = try ModelDescription(
      configuration, path: path, seed: UInt64(config.seed),
      hasRouterLosses: hasRouterLosses(config),
      sliced: { try $0.fitting(blockBytes: blockBytes) })
    return description.routed { rule in
      if config.model.aux == "per_layer" {
        (rule.pool, rule.share, rule.sidesWithoutLosses) = (.layer, .choices, [])
      }
      if let coefficient = Float(config.model.router_z_loss_coef) {
        rule.zCoefficient = coefficient
      }
    }
  }
}

extension ExpertShape {
  /// In the fewest slices whose records, weights and moments, are within `blockBytes`.
  /// - Throws: `TrainingError.expertTooLarge` when even one hidden unit is not.
  func fitting(blockBytes: Int) throws -> ExpertShape {
    guard let shape = sliced(bytesPerParameter: 12, blockBytes: blockBytes) else {
      throw TrainingError.expertTooLarge(bytes: blockBytes)
    }
    return shape
  }
}

extension ModelDescription {
  /// The same model with its rule of routing changed, where that is a published family's.
  fileprivate func routed(_ change: (inout TopKRule) -> Void) -> ModelDescription {
    guard case .topK(var rule) = routing else { return self }
    change(&rule)
    return ModelDescription(
      width: width, vocabulary: vocabulary, experts: experts, embedding: embedding,
      encoder: encoder, decoder: decoder, head: head, routing: .topK(rule), layout: layout)
  }
}

extension RunConfig {
  /// The published model that the run trains; nil when it is zcode.
  /// - Throws: `InterchangeError`; `ConfigError` when `model.family` says something else.
  package func publishedModel() throws -> PublishedModel? {
    guard let family = PublishedFamily(rawValue: model.family) else { return nil }
    let published = try PublishedModel(folder: model.path)
    guard published.family == family else {
      throw ConfigError(
        key: "model.family",
        problem: "is \(model.family), the model in \(model.path) is "
          + "\(published.family.rawValue)",
        remedy: "correct one of them")
    }
    return published
  }

  /// This configuration with `model.path` as a run in `run` has it.
  package func resolved(in run: RunDirectory) -> RunConfig {
    guard PublishedFamily(rawValue: model.family) != nil, model.path.isEmpty else { return self }
    var config = self
    config.model.path = run.model
    return config
  }

  /// The same where the directory says it by itself.
  func unresolved(in run: RunDirectory, from source: String? = nil) -> RunConfig {
    [run.model, source].contains(model.path) ? unresolved() : self
  }
  func unresolved() -> RunConfig {
    var config = self
    config.model.path = ""
    return config
  }

  /// What a run of an imported model starts from: the defaults that transformers' Trainer has.
  static func forFineTuning() -> RunConfig {
    var config = RunConfig()
    config.training.learning_rate = 5e-5
    config.training.lr_scheduler_type = "linear"
    config.training.warmup_steps = 0
    config.training.adam_beta2 = 0.999
    config.training.weight_decay = 0
    return config
  }

  /// What a step does with experts that have no tokens.
  var untouched: StepOptions.Untouched {
    StepOptions.Untouched(rawValue: training.untouched)
      ?? PublishedFamily(rawValue: model.family)?.untouched ?? .skip
  }
}

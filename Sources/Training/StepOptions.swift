import Base
import Corpus
import Kernels
import Layers
package import Models
import Optimizers
import Paging
import Storage

/// What the sweeps need of the configuration, resolved.
package struct StepOptions: Sendable {
  package enum Precision: Sendable {
    /// Experts compute with the upper half of the fp32 master.
    case bf16
    case fp32
  }
  /// How gradients are kept from being too long.
  package enum Clip: Sendable, Equatable {
    case none
    /// Each tensor of the dense part and each expert's slice by itself.
    case block(Float)
    /// All together, exactly: the backward sweep is made twice.
    case global(Float)
  }
  /// What happens to an expert without tokens in a step.
  package enum Untouched: String, Sendable, CaseIterable {
    /// Nothing, as in torch where a parameter has no gradient. It is not read.
    case skip
    /// An update with a gradient of zero: its weights decay, its moments fade, and it is paged.
    case decay
  }
  package let seed: UInt64
  package let microBatches: Int
  package let precision: Precision
  package let clip: Clip
  package let untouched: Untouched
  /// Whether weight decay applies to gains and biases, too.
  let decaysVectors: Bool

  init(
    seed: UInt64 = 1, microBatches: Int, precision: Precision, clip: Clip, untouched: Untouched,
    decaysVectors: Bool
  ) {
    (self.seed, self.microBatches, self.precision) = (seed, microBatches, precision)
    (self.clip, self.untouched, self.decaysVectors) = (clip, untouched, decaysVectors)
  }

  package init(_ config: RunConfig) {
    seed = UInt64(config.seed)
    microBatches = config.training.gradient_accumulation_steps
    precision = config.model.weights == "bf16" ? .bf16 : .fp32
    let norm = Float(config.training.max_grad_norm)
    switch config.training.clip {
    case "block": clip = .block(norm)
    case "global": clip = .global(norm)
    default: clip = .none
    }
    untouched = config.untouched
    decaysVectors = false
  }

  /// The planes a forward visit needs.
  var forwardPlanes: PlaneSet { precision == .bf16 ? [.hi] : [.hi, .lo] }
}

extension ModelDescription {
  /// - Parameter corpus: of zcode; a published model has a vocabulary of its own.
  /// - Throws: `TrainingError.expertTooLarge` when no slice of an expert fits a block;
  ///   `InterchangeError`.
  init(_ config: RunConfig, corpus: CorpusShape?) throws {
    if let published = try config.publishedModel() {
      self = try published.description(config).keeping(config)
      return
    }
    guard let corpus else { preconditionFailure("zcode has a corpus") }
    let model = config.model
    let blockBytes = try config.bytes(config.storage.block_bytes, key: "storage.block_bytes")
    let experts = try ExpertShape(
      count: model.num_experts, width: model.d_model, hidden: model.ffn_dim
    ).fitting(blockBytes: blockBytes)
    var zcode = Zcode(
      width: model.d_model, heads: model.num_attention_heads, hidden: model.ffn_dim,
      encoderLayers: model.encoder_layers, decoderLayers: model.decoder_layers,
      sparseStep: model.sparse_step, vocabulary: corpus.vocabulary, experts: experts)
    zcode.languages = corpus.languages
    zcode.gates = (GateChoice(model.encoder_gate).kind, GateChoice(model.decoder_gate).kind)
    self = try zcode.description(RoutingRule(config)).keeping(config)
  }
}

extension ModelDescription {
  /// With the experts that the configuration says are there.
  fileprivate func keeping(_ config: RunConfig) throws(ConfigError) -> ModelDescription {
    let kept = try config.keptExperts(
      layers: mixtures, experts: experts.count, perToken: routing.expertsPerToken)
    return kept.map(keeping) ?? self
  }
}

extension RunConfig {
  /// Experts that a token chooses.
  /// - Throws: as `description`.
  package func expertsPerToken() throws -> Int { try description().routing.expertsPerToken }

  /// The model that the configuration describes.
  /// - Throws: `CorpusError`, `InterchangeError`, `ConfigError`, `TrainingError`.
  package func description() throws -> ModelDescription {
    try ModelDescription(self, corpus: DataFacts(self).corpus)
  }
}

/// What zcode is told of its corpus.
struct CorpusShape: Sendable {
  let vocabulary: Int
  let languages: Int

  init(_ manifest: CorpusManifest) {
    (vocabulary, languages) = (manifest.vocabularySize, manifest.languages.count)
  }
}

/// The values of `model.encoder_gate` and `model.decoder_gate`.
enum GateChoice: String, CaseIterable {
  case token
  case sentence
  case targetLanguage = "target_language"
  case languagePair = "language_pair"

  init(_ name: String) {
    guard let choice = GateChoice(rawValue: name) else { preconditionFailure("validated") }
    self = choice
  }

  var kind: Zcode.GateKind {
    switch self {
    case .token: .token
    case .sentence: .sentence
    case .targetLanguage: .task(.targetLanguage)
    case .languagePair: .task(.languagePair)
    }
  }
}

/// The values of `model.second_expert_policy`.
enum SecondExpertPolicy: String, CaseIterable {
  case all
  case sampling
  case random

  var choices: TopKGate.LaterChoices {
    switch self {
    case .all: .likeliest
    case .sampling: .drawn
    case .random: .takenByChance
    }
  }
}

extension RoutingRule {
  /// Of zcode.
  init(_ config: RunConfig) {
    self =
      config.model.num_experts_per_tok == 1
      ? .topOne(TopOneRule(config)) : .topK(TopKRule(config))
  }
}

extension TopKRule {
  /// Of zcode: as DeepSpeed gates two experts, with a capacity for both together and a balance loss of
  /// each layer by itself that counts first choices.
  init(_ config: RunConfig) {
    self.init()
    let model = config.model
    guard let policy = SecondExpertPolicy(rawValue: model.second_expert_policy),
      let selection = TokenSelection(rawValue: model.token_selection)
    else { preconditionFailure("validated") }
    k = model.num_experts_per_tok
    combine = .shareOfKept
    priority = TopKGate.Priority(selection)
    laterChoices = policy.choices
    trainingCapacity = .factor(model.capacity_factor, minimum: model.min_capacity)
    evaluationCapacity = .factor(model.eval_capacity_factor, minimum: model.min_capacity)
    dropsInGeneration = false
    jitter = Float(model.router_jitter_noise)
    balanceCoefficient = Float(model.router_aux_loss_coef)
    pool = .layer
    share = .firstChoices
    seed = UInt64(config.seed)
  }
}

extension TopKGate.Priority {
  init(_ selection: TokenSelection) {
    self =
      switch selection {
      case .random: .random
      case .first: .order
      case .priority: .likeliest
      }
  }
}

extension TopOneRule {
  init(_ config: RunConfig) {
    self.init()
    let model = config.model
    capacityFactor = model.capacity_factor
    evalCapacityFactor = model.eval_capacity_factor
    minCapacity = model.min_capacity
    guard let selection = TokenSelection(rawValue: model.token_selection) else {
      preconditionFailure("validated")
    }
    tokenSelection = selection
    jitter = Float(model.router_jitter_noise)
    auxLossCoefficient = Float(model.router_aux_loss_coef)
    seed = UInt64(config.seed)
  }
}

extension Transformer {
  /// The visits of one layer's touched experts, in the order of the forward sweep.
  func visits(of mixture: Int, _ planes: (BlockID) -> PlaneSet) -> [Visit] {
    routings[mixture].blocks.map {
      let block = BlockID.expert(layer: mixture, $0.expert, slice: $0.slice)
      return Visit(block, planes(block), isCheckedByHolder: true)
    }
  }
}

/// The values of `training.optim`.
enum OptimizerChoice: String, CaseIterable {
  case adamW = "adamw"
  case adafactor
}

extension Optimizer {
  init(_ config: RunConfig) {
    let training = config.training
    switch OptimizerChoice(rawValue: training.optim) {
    case .adamW:
      self = .adamW(
        AdamW(
          beta1: training.adam_beta1, beta2: training.adam_beta2, epsilon: training.adam_epsilon,
          weightDecay: training.weight_decay))
    case .adafactor:
      self = .adafactor(
        Adafactor(
          scalesByParameters: training.adafactor_scale_parameter,
          weightDecay: training.weight_decay))
    case nil: preconditionFailure("validated")
    }
  }
}

extension LearningRateSchedule {
  init(_ config: RunConfig) {
    let training = config.training
    guard let shape = Shape(rawValue: training.lr_scheduler_type) else {
      preconditionFailure("validated")
    }
    self.init(
      shape, peak: training.learning_rate, warmupSteps: training.warmup_steps,
      totalSteps: training.max_steps, minimumRatio: training.min_lr_ratio)
  }
}

import Base
import Kernels
import Layers
import Models
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
  /// - Parameter vocabulary: of zcode; a published model has its own.
  /// - Throws: `TrainingError.expertTooLarge` when no slice of an expert fits a block;
  ///   `InterchangeError`.
  init(_ config: RunConfig, vocabulary: Int?) throws {
    if let published = try config.publishedModel() {
      self = try published.description(config)
      return
    }
    guard let vocabulary else { preconditionFailure("a corpus has a vocabulary") }
    let model = config.model
    let blockBytes = try config.bytes(config.storage.block_bytes, key: "storage.block_bytes")
    let experts = try ExpertShape(
      count: model.num_experts, width: model.d_model, hidden: model.ffn_dim
    ).fitting(blockBytes: blockBytes)
    self = Zcode(
      width: model.d_model, heads: model.num_attention_heads, hidden: model.ffn_dim,
      encoderLayers: model.encoder_layers, decoderLayers: model.decoder_layers,
      sparseStep: model.sparse_step, vocabulary: vocabulary, experts: experts
    ).description(TopOneRule(config))
  }
}

extension TopOneRule {
  init(_ config: RunConfig) {
    self.init()
    let model = config.model
    capacityFactor = model.capacity_factor
    evalCapacityFactor = model.eval_capacity_factor
    minCapacity = model.min_capacity
    tokenSelection = model.token_selection == "random" ? .random : .first
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

extension AdamW {
  init(_ config: RunConfig) {
    let training = config.training
    self.init(
      beta1: training.adam_beta1, beta2: training.adam_beta2, epsilon: training.adam_epsilon,
      weightDecay: training.weight_decay)
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

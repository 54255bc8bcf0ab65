package import Interchange
import Kernels
import Layers

/// Models as their `config.json` describes them.
extension ModelDescription {
  /// - Parameters:
  ///   - configuration: of a published family.
  ///   - path: of the file, for errors.
  ///   - sliced: the experts in slices that fit the store.
  ///   - seed: of jitter.
  ///   - hasRouterLosses: whether balance and z-loss are a part of the loss.
  /// - Throws: `InterchangeError.unsupported` for what a family may have and is not computed here.
  package init(
    _ configuration: ModelConfiguration, path: String, seed: UInt64 = 1,
    hasRouterLosses: Bool = true,
    sliced: (ExpertShape) throws -> ExpertShape = { $0 }
  ) throws {
    func withoutLosses(_ rule: TopKRule) -> TopKRule {
      var rule = rule
      if !hasRouterLosses { (rule.balanceCoefficient, rule.zCoefficient) = (0, 0) }
      return rule
    }
    switch configuration.family {
    case .switchTransformers(let model):
      let family = try SwitchTransformer(model, configuration, path, sliced)
      self = family.description(withoutLosses(TopKRule(model, seed: seed)))
    case .nllbMoE(let model):
      let family = try NLLBMoE(model, configuration, path, sliced)
      self = family.description(withoutLosses(try TopKRule(model, path, seed: seed)))
    case .decoder(let model):
      try model.requireComputable(path)
      let experts = try sliced(
        ExpertShape(
          count: model.experts, width: model.width, hidden: model.expertHidden,
          activation: model.activation.layer, isGated: true))
      let rule = withoutLosses(TopKRule(model, seed: seed))
      switch model.kind {
      case .mixtral: self = Mixtral(model, configuration, experts).description(rule)
      case .olmoe: self = OLMoE(model, configuration, experts).description(rule)
      case .qwen3MoE: self = Qwen3MoE(model, configuration, experts).description(rule)
      }
    }
  }
}

extension ModelConfiguration.Activation {
  var layer: Activation {
    switch self {
    case .relu: .relu
    case .silu, .swish: .silu
    case .gelu: .gelu
    case .geluNew: .geluTanh
    }
  }
}

private func refuse(_ path: String, _ key: String, _ remedy: String) -> InterchangeError {
  .unsupported(path: path, offset: 0, cause: "`\(key)` is not computed here", remedy: remedy)
}

// MARK: Switch

extension SwitchTransformer {
  init(
    _ model: SwitchConfiguration, _ common: ModelConfiguration, _ path: String,
    _ sliced: (ExpertShape) throws -> ExpertShape
  ) throws {
    guard common.tiesWordEmbeddings else {
      throw refuse(
        path, "tie_word_embeddings: false", "such models are not saved whole; take a tied one")
    }
    guard !model.hasRouterBias else { throw refuse(path, "router_bias", "take a model without") }
    self.init(
      width: model.width, heads: model.heads, headWidth: model.headWidth, hidden: model.hidden,
      encoderLayers: model.encoder.layers, decoderLayers: model.decoder.layers,
      encoderSparse: Set(model.encoder.sparseLayers),
      decoderSparse: Set(model.decoder.sparseLayers), vocabulary: common.vocabularySize,
      activation: model.activation.layer, epsilon: Float(model.normEpsilon),
      positionBuckets: model.relativeBuckets, positionDistanceMax: model.relativeDistanceMax,
      experts: try sliced(
        ExpertShape(
          count: model.experts, width: model.width, hidden: model.hidden,
          activation: model.activation.layer)))
  }
}

extension TopKRule {
  /// The losses are of each sequence, over all layers of a stack; padding is routed and counted.
  init(_ model: SwitchConfiguration, seed: UInt64) {
    self.init()
    trainingCapacity = .perSequence(model.expertCapacity)
    evaluationCapacity = trainingCapacity
    jitter = Float(model.routerJitter)
    balanceCoefficient = Float(model.routerAuxLossCoefficient)
    zCoefficient = Float(model.routerZLossCoefficient)
    (pool, share) = (.sequence, .keptOrFirst)
    self.seed = seed
  }
}

// MARK: NLLB-MoE

extension NLLBMoE {
  init(
    _ model: NLLBMoEConfiguration, _ common: ModelConfiguration, _ path: String,
    _ sliced: (ExpertShape) throws -> ExpertShape
  ) throws {
    guard common.tiesWordEmbeddings else {
      throw refuse(path, "tie_word_embeddings: false", "take a tied model")
    }
    self.init(
      width: model.width, encoderHeads: model.encoderHeads, decoderHeads: model.decoderHeads,
      encoderHidden: model.encoderHidden, decoderHidden: model.decoderHidden,
      encoderLayers: model.encoder.layers, decoderLayers: model.decoder.layers,
      encoderSparse: Set(model.encoder.sparseLayers),
      decoderSparse: Set(model.decoder.sparseLayers), vocabulary: common.vocabularySize,
      activation: model.activation.layer, scalesEmbedding: model.scalesEmbedding,
      gateHasBias: model.hasRouterBias, padding: common.padToken ?? 1,
      experts: try sliced(try Self.experts(model, path)))
  }

  /// One kind of experts serves both stacks.
  private static func experts(
    _ model: NLLBMoEConfiguration, _ path: String
  ) throws -> ExpertShape {
    let sparse = [
      (model.encoder.sparseLayers, model.encoderHidden),
      (model.decoder.sparseLayers, model.decoderHidden),
    ].filter { !$0.0.isEmpty }.map(\.1)
    guard Set(sparse).count <= 1 else {
      throw refuse(
        path, "encoder_ffn_dim beside another decoder_ffn_dim", "experts have one size")
    }
    return ExpertShape(
      count: model.experts, width: model.width, hidden: sparse.first ?? model.encoderHidden,
      activation: model.activation.layer, hasBiases: true)
  }
}

extension TopKRule {
  init(_ model: NLLBMoEConfiguration, _ path: String, seed: UInt64) throws {
    guard model.secondExpertPolicy == .all else {
      throw refuse(path, "second_expert_policy", "only `all` is")
    }
    guard !model.hasBatchPrioritizedRouting else {
      throw refuse(path, "batch_prioritized_routing", "set it to false")
    }
    guard let capacity = model.expertCapacity else {
      throw refuse(path, "expert_capacity: null", "give a number of tokens")
    }
    guard model.evaluationCapacityFraction == 1 else {
      throw refuse(path, "moe_eval_capacity_token_fraction", "set it to 1: no token is dropped")
    }
    self.init()
    k = 2
    combine = model.normalizesBeforeDropping ? .shareOfChoices : .shareOfKept
    trainingCapacity = .perMicroBatch(capacity)
    skipsPadding = true
    evaluationScale = Float(1 - model.expertOutputMasking)
    balanceCoefficient = Float(model.routerAuxLossCoefficient)
    (pool, balancesPadding) = (.layer, false)
    self.seed = seed
  }
}

// MARK: Mixtral, OLMoE, Qwen3-MoE

extension DecoderConfiguration {
  func requireComputable(_ path: String) throws(InterchangeError) {
    guard !hasAttentionBias else { throw refuse(path, "attention_bias", "take a model without") }
    guard queryKeyValueClip == nil else { throw refuse(path, "clip_qkv", "take a model without") }
  }
}

extension TopKRule {
  /// The loss is of all layers together, over tokens that are no padding.
  init(_ model: DecoderConfiguration, seed: UInt64) {
    self.init()
    k = model.expertsPerToken
    combine = model.normalizesTopK ? .shareOfChoices : .probability
    jitter = Float(model.routerJitter)
    balanceCoefficient = Float(model.routerAuxLossCoefficient)
    balancesPadding = false
    self.seed = seed
  }
}

extension Mixtral {
  init(_ model: DecoderConfiguration, _ common: ModelConfiguration, _ experts: ExpertShape) {
    self.init(
      width: model.width, heads: model.heads, keyHeads: model.keyValueHeads,
      headWidth: model.headWidth, layers: model.layers, vocabulary: common.vocabularySize,
      epsilon: Float(model.normEpsilon), rotaryBase: model.ropeTheta,
      isTied: common.tiesWordEmbeddings, experts: experts)
  }
}

extension OLMoE {
  init(_ model: DecoderConfiguration, _ common: ModelConfiguration, _ experts: ExpertShape) {
    self.init(
      width: model.width, heads: model.heads, keyHeads: model.keyValueHeads, layers: model.layers,
      vocabulary: common.vocabularySize, epsilon: Float(model.normEpsilon),
      rotaryBase: model.ropeTheta, isTied: common.tiesWordEmbeddings, experts: experts)
  }
}

extension Qwen3MoE {
  init(_ model: DecoderConfiguration, _ common: ModelConfiguration, _ experts: ExpertShape) {
    self.init(
      width: model.width, heads: model.heads, keyHeads: model.keyValueHeads,
      headWidth: model.headWidth, layers: model.layers, vocabulary: common.vocabularySize,
      epsilon: Float(model.normEpsilon), rotaryBase: model.ropeTheta,
      isTied: common.tiesWordEmbeddings, denseHidden: model.hidden,
      sparse: Set(model.sparseLayers), experts: experts)
  }
}

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
      self = family.description(withoutLosses(TopKRule(model, seed: seed)))
    case .decoder(let model):
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
    case .gelu, .geluPython: .gelu
    case .geluNew, .geluTanh, .geluFast: .geluTanh
    }
  }
}

/// A gate is computed in float32 whatever its configuration says.
private func requireFullPrecision(
  _ type: ElementType, _ path: String
) throws(InterchangeError) {
  guard type != .f32 else { return }
  throw .unsupported(
    path: path, offset: 0, cause: "`router_dtype` is \(type.torchName)",
    remedy: "known is float32: gates in fewer bits choose other experts")
}

// MARK: Switch

extension SwitchTransformer {
  init(
    _ model: SwitchConfiguration, _ common: ModelConfiguration, _ path: String,
    _ sliced: (ExpertShape) throws -> ExpertShape
  ) throws {
    try requireFullPrecision(model.routerType, path)
    self.init(
      width: model.width, heads: model.heads, headWidth: model.headWidth, hidden: model.hidden,
      encoderLayers: model.encoder.layers, decoderLayers: model.decoder.layers,
      encoderSparse: Set(model.encoder.sparseLayers),
      decoderSparse: Set(model.decoder.sparseLayers), vocabulary: common.vocabularySize,
      activation: model.activation.layer, epsilon: Float(model.normEpsilon),
      positionBuckets: model.relativeBuckets, positionDistanceMax: model.relativeDistanceMax,
      gateHasBias: model.hasRouterBias, isTied: common.tiesWordEmbeddings,
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
    // transformers 4.57 asks for a step above 1 where it means a stack with experts.
    if model.encoder.sparseStep <= 1 { sidesWithoutLosses.insert(.encoder) }
    if model.decoder.sparseStep <= 1 { sidesWithoutLosses.insert(.decoder) }
    self.seed = seed
  }
}

// MARK: NLLB-MoE

extension NLLBMoE {
  init(
    _ model: NLLBMoEConfiguration, _ common: ModelConfiguration, _ path: String,
    _ sliced: (ExpertShape) throws -> ExpertShape
  ) throws {
    try requireFullPrecision(model.routerType, path)
    self.init(
      width: model.width, encoderHeads: model.encoderHeads, decoderHeads: model.decoderHeads,
      encoderHidden: model.encoderHidden, decoderHidden: model.decoderHidden,
      encoderLayers: model.encoder.layers, decoderLayers: model.decoder.layers,
      encoderSparse: Set(model.encoder.sparseLayers),
      decoderSparse: Set(model.decoder.sparseLayers), vocabulary: common.vocabularySize,
      activation: model.activation.layer, scalesEmbedding: model.scalesEmbedding,
      gateHasBias: model.hasRouterBias, padding: common.padToken ?? 1,
      isTied: common.tiesWordEmbeddings, experts: try sliced(Self.experts(model)))
  }

  /// One kind of experts serves both stacks, as large as the larger of the two.
  private static func experts(_ model: NLLBMoEConfiguration) -> ExpertShape {
    let sparse = [
      (model.encoder.sparseLayers, model.encoderHidden),
      (model.decoder.sparseLayers, model.decoderHidden),
    ].filter { !$0.0.isEmpty }.map(\.1)
    return ExpertShape(
      count: model.experts, width: model.width, hidden: sparse.max() ?? model.encoderHidden,
      activation: model.activation.layer, hasBiases: true)
  }
}

extension TopKRule {
  init(_ model: NLLBMoEConfiguration, seed: UInt64) {
    self.init()
    k = 2
    combine = model.normalizesBeforeDropping ? .shareOfChoices : .shareOfKept
    priority = model.hasBatchPrioritizedRouting ? .likeliest : .order
    laterChoices =
      switch model.secondExpertPolicy {
      case .all: .likeliest
      case .sampling: .drawn
      case .random: .takenByChance
      }
    trainingCapacity = model.expertCapacity.map { .perMicroBatch($0) } ?? .timesMean(2)
    evaluationCapacity =
      model.evaluationCapacityFraction > 0
      ? .shareOfMicroBatch(model.evaluationCapacityFraction) : trainingCapacity
    skipsPadding = !model.routerIgnoresPadding
    evaluationScale = Float(1 - model.expertOutputMasking)
    balanceCoefficient = Float(model.routerAuxLossCoefficient)
    (pool, balancesPadding) = (.layer, false)
    self.seed = seed
  }
}

// MARK: Mixtral, OLMoE, Qwen3-MoE

extension DecoderConfiguration {
  var rotary: RotaryPositions { RotaryPositions(base: ropeTheta, scaling: ropeScaling.layer) }
}

extension RopeScaling {
  var layer: RotaryPositions.Scaling {
    switch self {
    case .none: .none
    case .linear(let factor): .linear(factor: factor)
    case .llama3(let factor, let low, let high, let length):
      .byTurns(factor: factor, slow: low, fast: high, length: Double(length))
    case .yarn(let yarn):
      .ramp(
        factor: yarn.factor, slow: yarn.slow, fast: yarn.fast, length: Double(yarn.length),
        isRounded: yarn.isRounded, amplitude: yarn.attentionFactor)
    }
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
      epsilon: Float(model.normEpsilon), rotary: model.rotary, window: model.slidingWindow,
      padding: common.padToken, isTied: common.tiesWordEmbeddings, experts: experts)
  }
}

extension OLMoE {
  init(_ model: DecoderConfiguration, _ common: ModelConfiguration, _ experts: ExpertShape) {
    self.init(
      width: model.width, heads: model.heads, keyHeads: model.keyValueHeads, layers: model.layers,
      vocabulary: common.vocabularySize, epsilon: Float(model.normEpsilon),
      rotary: model.rotary, clip: model.queryKeyValueClip.map { Float($0) },
      attentionHasBiases: model.hasAttentionBias, padding: common.padToken,
      isTied: common.tiesWordEmbeddings,
      experts: experts)
  }
}

extension Qwen3MoE {
  init(_ model: DecoderConfiguration, _ common: ModelConfiguration, _ experts: ExpertShape) {
    self.init(
      width: model.width, heads: model.heads, keyHeads: model.keyValueHeads,
      headWidth: model.headWidth, layers: model.layers, vocabulary: common.vocabularySize,
      epsilon: Float(model.normEpsilon), rotary: model.rotary, window: model.slidingWindow,
      attentionHasBiases: model.hasAttentionBias, padding: common.padToken,
      isTied: common.tiesWordEmbeddings, denseHidden: model.hidden,
      sparse: Set(model.sparseLayers), experts: experts)
  }
}

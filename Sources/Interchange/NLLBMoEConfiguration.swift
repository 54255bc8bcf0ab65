/// NLLB-MoE: an encoder and a decoder of the M2M-100 family with top-2 experts.
package struct NLLBMoEConfiguration: Sendable {
  /// Which of the tokens' second experts are taken.
  package enum SecondExpertPolicy: String, CaseIterable, Sendable {
    case all, sampling, random
  }

  package let width: Int
  package let encoder: SparseStack
  package let decoder: SparseStack
  package let encoderHeads: Int
  package let decoderHeads: Int
  package let encoderHidden: Int
  package let decoderHidden: Int
  package let encoderLayerDrop: Double
  package let decoderLayerDrop: Double
  package let experts: Int
  /// Tokens of an expert for each batch in training; nil: twice the mean.
  package let expertCapacity: Int?
  package let evaluationCapacityFraction: Double
  /// Share of the experts' outputs that training masks.
  package let expertOutputMasking: Double
  package let secondExpertPolicy: SecondExpertPolicy
  package let normalizesBeforeDropping: Bool
  package let hasBatchPrioritizedRouting: Bool
  package let hasRouterBias: Bool
  package let routerType: ElementType
  package let routerIgnoresPadding: Bool
  package let routerZLossCoefficient: Double
  package let routerAuxLossCoefficient: Double
  package let positionsMax: Int
  package let scalesEmbedding: Bool
  package let dropout: Double
  package let attentionDropout: Double
  package let activationDropout: Double
  package let initializerDeviation: Double
  package let activation: ModelConfiguration.Activation

  init(_ reader: inout ConfigurationReader) throws(InterchangeError) {
    typealias Limits = ModelConfiguration.Limits
    width = try reader.integer("d_model", "hidden_size", default: 1024, in: 1...Limits.width)
    encoder = try Self.stack(&reader, "encoder")
    decoder = try Self.stack(&reader, "decoder")
    encoderHeads = try reader.integer(
      "encoder_attention_heads", "num_attention_heads", default: 16, in: 1...Limits.heads)
    decoderHeads = try reader.integer("decoder_attention_heads", default: 16, in: 1...Limits.heads)
    try reader.check("d_model", width, isMultipleOf: encoderHeads, "encoder_attention_heads")
    try reader.check("d_model", width, isMultipleOf: decoderHeads, "decoder_attention_heads")
    encoderHidden = try reader.integer("encoder_ffn_dim", default: 4096, in: 1...Limits.width)
    decoderHidden = try reader.integer("decoder_ffn_dim", default: 4096, in: 1...Limits.width)
    encoderLayerDrop = try reader.number("encoder_layerdrop", default: 0.05, in: 0...1)
    decoderLayerDrop = try reader.number("decoder_layerdrop", default: 0.05, in: 0...1)
    // Each token takes two.
    experts = try reader.integer("num_experts", default: 128, in: 2...Limits.experts)
    expertCapacity = try reader.integerOrNull(
      "expert_capacity", default: 64, in: 1...Limits.positions)
    evaluationCapacityFraction = try reader.number(
      "moe_eval_capacity_token_fraction", default: 1, in: -1...1e6)
    expertOutputMasking = try reader.number("moe_token_dropout", default: 0.2, in: 0...1)
    secondExpertPolicy = try reader.choice("second_expert_policy", default: .all)
    normalizesBeforeDropping = try reader.flag(
      "normalize_router_prob_before_dropping", default: false)
    hasBatchPrioritizedRouting = try reader.flag("batch_prioritized_routing", default: false)
    hasRouterBias = try reader.flag("router_bias", default: false)
    routerType = try reader.type("router_dtype", among: [.f32, .f16, .bf16]) ?? .f32
    routerIgnoresPadding = try reader.flag("router_ignore_padding_tokens", default: false)
    routerZLossCoefficient = try reader.number(
      "router_z_loss_coef", default: 0.001, in: 0...1e6)
    routerAuxLossCoefficient = try reader.number(
      "router_aux_loss_coef", default: 0.001, in: 0...1e6)
    positionsMax = try reader.integer(
      "max_position_embeddings", default: 1024, in: 1...Limits.positions)
    scalesEmbedding = try reader.flag("scale_embedding", default: true)
    dropout = try reader.number("dropout", default: 0.1, in: 0...1)
    attentionDropout = try reader.number("attention_dropout", default: 0.1, in: 0...1)
    activationDropout = try reader.number("activation_dropout", default: 0, in: 0...1)
    initializerDeviation = try reader.number("init_std", default: 0.02, in: 0...1e6)
    activation = try reader.choice("activation_function", default: .relu)
  }

  private static func stack(
    _ reader: inout ConfigurationReader, _ name: String
  ) throws(InterchangeError) -> SparseStack {
    let limit = ModelConfiguration.Limits.layers
    let layers = try reader.integer("\(name)_layers", default: 12, in: 1...limit)
    let step = try reader.integer("\(name)_sparse_step", default: 4, in: 0...limit)
    return SparseStack(
      layers: layers, sparseStep: step,
      sparseLayers: (0..<layers).filter { step > 0 && ($0 + 1) % step == 0 })
  }
}

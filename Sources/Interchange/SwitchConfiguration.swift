/// SwitchTransformers: an encoder and a decoder of the T5 family with top-1 experts.
package struct SwitchConfiguration: Sendable {
  package let width: Int
  /// `d_kv`: of a head; heads need not divide the width.
  package let headWidth: Int
  package let hidden: Int
  package let heads: Int
  package let encoder: SparseStack
  package let decoder: SparseStack
  package let experts: Int
  /// Tokens of an expert for each sequence.
  package let expertCapacity: Int
  package let hasRouterBias: Bool
  package let routerJitter: Double
  package let routerType: ElementType
  package let routerIgnoresPadding: Bool
  package let routerZLossCoefficient: Double
  package let routerAuxLossCoefficient: Double
  package let relativeBuckets: Int
  package let relativeDistanceMax: Int
  package let dropout: Double
  package let normEpsilon: Double
  package let initializerFactor: Double
  package let activation: ModelConfiguration.Activation

  init(_ reader: inout ConfigurationReader) throws(InterchangeError) {
    typealias Limits = ModelConfiguration.Limits
    width = try reader.integer("d_model", "hidden_size", default: 768, in: 1...Limits.width)
    headWidth = try reader.integer("d_kv", default: 64, in: 1...Limits.width)
    hidden = try reader.integer("d_ff", default: 2048, in: 1...Limits.width)
    heads = try reader.integer(
      "num_heads", "num_attention_heads", default: 12, in: 1...Limits.heads)
    let layers = try reader.integer(
      "num_layers", "num_hidden_layers", default: 12, in: 1...Limits.layers)
    // Without the key twelve; with null as many as the encoder has.
    let decoderLayers =
      try reader.integerOrNull("num_decoder_layers", default: 12, in: 1...Limits.layers) ?? layers
    encoder = try Self.stack(&reader, "encoder", layers)
    decoder = try Self.stack(&reader, "decoder", decoderLayers)
    experts = try reader.integer("num_experts", default: 8, in: 1...Limits.experts)
    expertCapacity = try reader.integer("expert_capacity", default: 64, in: 1...Limits.positions)
    hasRouterBias = try reader.flag("router_bias", default: false)
    routerJitter = try reader.number("router_jitter_noise", default: 0.01, in: 0...1)
    routerType = try reader.type("router_dtype", among: [.f32, .f16, .bf16]) ?? .f32
    routerIgnoresPadding = try reader.flag("router_ignore_padding_tokens", default: false)
    routerZLossCoefficient = try reader.number(
      "router_z_loss_coef", default: 0.001, in: 0...1e6)
    routerAuxLossCoefficient = try reader.number(
      "router_aux_loss_coef", default: 0.001, in: 0...1e6)
    relativeBuckets = try reader.integer(
      "relative_attention_num_buckets", default: 32, in: 4...Limits.width)
    relativeDistanceMax = try reader.integer(
      "relative_attention_max_distance", default: 128, in: 1...Limits.positions)
    // Half the buckets of the decoder are for single distances; the others are for longer ones.
    guard relativeDistanceMax > relativeBuckets / 2 else {
      throw reader.malformed(
        "relative_attention_max_distance",
        "is \(relativeDistanceMax), not above half the \(relativeBuckets) buckets")
    }
    dropout = try reader.number("dropout_rate", default: 0.1, in: 0...1)
    normEpsilon = try reader.number("layer_norm_epsilon", default: 1e-6, in: 0...1)
    initializerFactor = try reader.number("initializer_factor", default: 1, in: 0...1e6)
    activation = try reader.choice("dense_act_fn", default: .relu)
  }

  /// The step follows from the count of sparse layers; a key of its own overrides it. No sparse
  /// layers give, in transformers too, a step of all layers, which makes the second layer sparse.
  private static func stack(
    _ reader: inout ConfigurationReader, _ name: String, _ layers: Int
  ) throws(InterchangeError) -> SparseStack {
    let limit = ModelConfiguration.Limits.layers
    let sparse = try reader.integer("num_sparse_\(name)_layers", default: 3, in: 0...limit)
    let step = try reader.integer(
      "\(name)_sparse_step", default: sparse > 0 ? layers / sparse : layers, in: 0...limit)
    let layersWithExperts = (0..<layers).filter { step == 1 || (step > 1 && $0 % step == 1) }
    return SparseStack(layers: layers, sparseStep: step, sparseLayers: layersWithExperts)
  }
}

/// Layers, and which of them have experts.
package struct SparseStack: Hashable, Sendable {
  package let layers: Int
  /// 0: none has experts.
  package let sparseStep: Int
  /// In order.
  package let sparseLayers: [Int]

  package init(layers: Int, sparseStep: Int, sparseLayers: [Int]) {
    self.layers = layers
    self.sparseStep = sparseStep
    self.sparseLayers = sparseLayers
  }
}

/// Mixtral, OLMoE and Qwen3-MoE: a decoder of the Llama family whose layers have experts.
package struct DecoderConfiguration: Sendable {
  package enum Kind: Sendable {
    case mixtral, olmoe, qwen3MoE
  }
  /// What queries and keys are normalised over, before positions are rotated in.
  package enum QueryKeyNorm: Sendable {
    case none, wholeVector, head
  }

  package let kind: Kind
  package let width: Int
  package let layers: Int
  /// Of `layers`, in order; the others have one feed-forward network of `hidden`.
  package let sparseLayers: [Int]
  package let heads: Int
  package let keyValueHeads: Int
  package let headWidth: Int
  /// Of a layer without experts.
  package let hidden: Int
  package let expertHidden: Int
  package let experts: Int
  package let expertsPerToken: Int
  /// Whether the weights of a token's experts are scaled to sum to 1.
  package let normalizesTopK: Bool
  package let routerAuxLossCoefficient: Double
  package let routerJitter: Double
  package let ropeTheta: Double
  package let ropeScaling: RopeScaling
  package let normEpsilon: Double
  package let queryKeyNorm: QueryKeyNorm
  /// Queries, keys and values are cut to [-c, c]; nil: they are not.
  package let queryKeyValueClip: Double?
  package let hasAttentionBias: Bool
  package let attentionDropout: Double
  /// Positions that attention sees, its own included; nil: all before.
  package let slidingWindow: Int?
  package let positionsMax: Int
  package let initializerRange: Double
  package let activation: ModelConfiguration.Activation

  init(_ reader: inout ConfigurationReader, _ kind: Kind) throws(InterchangeError) {
    typealias Limits = ModelConfiguration.Limits
    let standards = Standards(kind)
    self.kind = kind
    width = try reader.integer("hidden_size", default: standards.width, in: 1...Limits.width)
    layers = try reader.integer(
      "num_hidden_layers", default: standards.layers, in: 1...Limits.layers)
    heads = try reader.integer(
      "num_attention_heads", default: standards.heads, in: 1...Limits.heads)
    keyValueHeads =
      try reader.integerOrNull(
        "num_key_value_heads", default: standards.keyValueHeads, in: 1...Limits.heads) ?? heads
    try reader.check(
      "num_attention_heads", heads, isMultipleOf: keyValueHeads, "num_key_value_heads")
    headWidth = try Self.headWidth(&reader, width: width, heads: heads)
    hidden = try reader.integer(
      "intermediate_size", default: standards.hidden, in: 1...Limits.width)
    expertHidden =
      kind == .qwen3MoE
      ? try reader.integer("moe_intermediate_size", default: 768, in: 1...Limits.width) : hidden
    experts = try reader.integer(
      standards.expertsKeys.0, standards.expertsKeys.1, default: standards.experts,
      in: 1...Limits.experts)
    expertsPerToken = try reader.integer(
      "num_experts_per_tok", default: standards.expertsPerToken, in: 1...experts)
    sparseLayers = kind == .qwen3MoE ? try Self.sparseLayers(&reader, layers) : Array(0..<layers)
    normalizesTopK =
      kind == .mixtral ? true : try reader.flag("norm_topk_prob", default: false)
    routerAuxLossCoefficient = try reader.number(
      "router_aux_loss_coef", default: kind == .olmoe ? 0.01 : 0.001, in: 0...1e6)
    routerJitter =
      kind == .mixtral ? try reader.number("router_jitter_noise", default: 0, in: 0...1) : 0
    let theta = try reader.number(
      "rope_theta", default: kind == .mixtral ? 1e6 : 1e4, in: RopeScaling.bases)
    positionsMax = try reader.integer(
      "max_position_embeddings", default: standards.positionsMax, in: 1...Limits.positions)
    (ropeTheta, ropeScaling) = try RopeScaling.read(
      &reader, theta: theta, positionsMax: positionsMax)
    normEpsilon = try reader.number(
      "rms_norm_eps", default: kind == .qwen3MoE ? 1e-6 : 1e-5, in: 0...1)
    queryKeyNorm = standards.queryKeyNorm
    queryKeyValueClip =
      kind == .olmoe ? try reader.numberOrNull("clip_qkv", in: 0...1e30) : nil
    hasAttentionBias = kind == .mixtral ? false : try reader.flag("attention_bias", default: false)
    attentionDropout = try reader.number("attention_dropout", default: 0, in: 0...1)
    slidingWindow = try Self.slidingWindow(&reader, kind)
    initializerRange = try reader.number("initializer_range", default: 0.02, in: 0...1e6)
    activation = try reader.choice("hidden_act", default: .silu)
  }

  /// A key of its own, or the width over the heads. Even, since positions rotate pairs.
  private static func headWidth(
    _ reader: inout ConfigurationReader, width: Int, heads: Int
  ) throws(InterchangeError) -> Int {
    let own = try reader.integerOrNull(
      "head_dim", default: nil, in: 1...ModelConfiguration.Limits.width)
    if own == nil {
      try reader.check("hidden_size", width, isMultipleOf: heads, "num_attention_heads")
    }
    let headWidth = own ?? width / heads
    guard headWidth.isMultiple(of: 2) else {
      throw reader.malformed(
        own == nil ? "hidden_size" : "head_dim", "gives heads of \(headWidth), an odd width")
    }
    return headWidth
  }

  private static func sparseLayers(
    _ reader: inout ConfigurationReader, _ layers: Int
  ) throws(InterchangeError) -> [Int] {
    let step = try reader.integer(
      "decoder_sparse_step", default: 1, in: 1...ModelConfiguration.Limits.layers)
    // transformers takes numbers of layers that are not there.
    let dense = Set(
      try reader.integers("mlp_only_layers", in: 0...ModelConfiguration.Limits.layers))
    return (0..<layers).filter { !dense.contains($0) && ($0 + 1) % step == 0 }
  }

  private static func slidingWindow(
    _ reader: inout ConfigurationReader, _ kind: Kind
  ) throws(InterchangeError) -> Int? {
    let range = 1...ModelConfiguration.Limits.positions
    switch kind {
    case .olmoe: return nil
    case .mixtral: return try reader.integerOrNull("sliding_window", default: nil, in: range)
    case .qwen3MoE:
      let isUsed = try reader.flag("use_sliding_window", default: false)
      let window = try reader.integerOrNull("sliding_window", default: 4096, in: range)
      return isUsed ? window : nil
    }
  }

  /// What transformers takes for keys that are not there.
  private struct Standards {
    let width, layers, heads, hidden, experts, expertsPerToken, positionsMax: Int
    let keyValueHeads: Int?
    /// In 4 and 5, or the other way round.
    let expertsKeys: (String, String)
    let queryKeyNorm: QueryKeyNorm

    init(_ kind: Kind) {
      switch kind {
      case .mixtral:
        (width, layers, heads, keyValueHeads, hidden) = (4096, 32, 32, 8, 14336)
        (experts, expertsPerToken, positionsMax) = (8, 2, 4096 * 32)
        expertsKeys = ("num_local_experts", "num_experts")
        queryKeyNorm = .none
      case .olmoe:
        (width, layers, heads, keyValueHeads, hidden) = (2048, 16, 16, nil, 2048)
        (experts, expertsPerToken, positionsMax) = (64, 8, 4096)
        expertsKeys = ("num_experts", "num_local_experts")
        queryKeyNorm = .wholeVector
      case .qwen3MoE:
        (width, layers, heads, keyValueHeads, hidden) = (2048, 24, 32, 4, 6144)
        (experts, expertsPerToken, positionsMax) = (128, 8, 32768)
        expertsKeys = ("num_experts", "num_local_experts")
        queryKeyNorm = .head
      }
    }
  }
}

package import Interchange

/// Geometries of published models, as their `config.json` has them.
package struct PublishedSize: Sendable {
  package let name: String
  package let configuration: [String: JSONValue]

  package static let all =
    [8, 16, 32, 64, 128, 256].map { switchModel("base", experts: $0) }
    + [
      switchModel("large", experts: 128), nllb, olmoe, qwen3,
      mixtral("8x7b", width: 4096, hidden: 14336, layers: 32, heads: 32, vocabulary: 32000),
      mixtral("8x22b", width: 6144, hidden: 16384, layers: 56, heads: 48, vocabulary: 32768),
    ]

  package init?(named name: String) {
    guard let model = Self.all.first(where: { $0.name == name }) else { return nil }
    self = model
  }

  private init(_ name: String, _ configuration: [String: JSONValue]) {
    (self.name, self.configuration) = (name, configuration)
  }

  /// The same model with `layers` layers, in each of its stacks.
  package func configuration(layers: Int) -> [String: JSONValue] {
    var members = configuration
    for key in Self.layerKeys where members[key] != nil { members[key] = .integer(layers) }
    // Every second layer of Switch has experts.
    for key in Self.sparseLayerKeys where members[key] != nil {
      members[key] = .integer(layers / 2)
    }
    return members
  }

  private static let layerKeys = [
    "num_hidden_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers",
  ]
  private static let sparseLayerKeys = ["num_sparse_encoder_layers", "num_sparse_decoder_layers"]

  /// Every second layer has experts.
  private static func switchModel(_ size: String, experts: Int) -> Self {
    let isLarge = size == "large"
    let layers = isLarge ? 24 : 12
    return Self(
      "switch-\(size)-\(experts)",
      [
        "model_type": "switch_transformers",
        "architectures": ["SwitchTransformersForConditionalGeneration"],
        "is_encoder_decoder": true, "tie_word_embeddings": true, "torch_dtype": "float32",
        "d_model": .integer(isLarge ? 1024 : 768), "d_ff": .integer(isLarge ? 4096 : 3072),
        "d_kv": 64, "num_heads": .integer(isLarge ? 16 : 12),
        "num_layers": .integer(layers), "num_decoder_layers": .integer(layers),
        "num_sparse_encoder_layers": .integer(layers / 2),
        "num_sparse_decoder_layers": .integer(layers / 2), "encoder_sparse_step": 2,
        "decoder_sparse_step": 2, "num_experts": .integer(experts), "expert_capacity": 64,
        "router_bias": false, "router_dtype": "float32", "router_jitter_noise": 0.01,
        "router_ignore_padding_tokens": false, "router_z_loss_coef": 0.001,
        "router_aux_loss_coef": 0.001, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "dropout_rate": 0.1, "layer_norm_epsilon": 1e-6,
        "initializer_factor": 1.0, "dense_act_fn": "relu", "feed_forward_proj": "relu",
        "is_gated_act": false, "vocab_size": 32128, "pad_token_id": 0, "eos_token_id": 1,
        "decoder_start_token_id": 0, "use_cache": true,
      ])
  }

  private static let nllb = Self(
    "nllb-moe-54b",
    [
      "model_type": "nllb-moe", "architectures": ["NllbMoeForConditionalGeneration"],
      "is_encoder_decoder": true, "tie_word_embeddings": true, "torch_dtype": "float32",
      "d_model": 2048, "encoder_layers": 24, "decoder_layers": 24, "encoder_ffn_dim": 8192,
      "decoder_ffn_dim": 8192, "encoder_attention_heads": 16, "decoder_attention_heads": 16,
      "encoder_sparse_step": 4, "decoder_sparse_step": 4, "encoder_layerdrop": 0,
      "decoder_layerdrop": 0, "num_experts": 128, "expert_capacity": 64,
      "moe_eval_capacity_token_fraction": 1.0, "moe_token_dropout": 0.2,
      "normalize_router_prob_before_dropping": false, "second_expert_policy": "all",
      "batch_prioritized_routing": false, "router_bias": false, "router_dtype": "float32",
      "router_ignore_padding_tokens": false, "router_z_loss_coef": 0.001,
      "router_aux_loss_coef": 0.001, "max_position_embeddings": 1024, "scale_embedding": true,
      "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0, "init_std": 0.02,
      "activation_function": "relu", "vocab_size": 256206, "pad_token_id": 1, "bos_token_id": 0,
      "eos_token_id": 2, "decoder_start_token_id": 2, "use_cache": true,
    ])

  private static let olmoe = Self(
    "olmoe-1b-7b",
    [
      "model_type": "olmoe", "architectures": ["OlmoeForCausalLM"], "torch_dtype": "bfloat16",
      "tie_word_embeddings": false, "hidden_size": 2048, "intermediate_size": 1024,
      "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16,
      "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": false,
      "router_aux_loss_coef": 0.01, "output_router_logits": false, "rope_theta": 10000.0,
      "rope_scaling": .null, "rms_norm_eps": 1e-5, "clip_qkv": .null, "attention_bias": false,
      "attention_dropout": 0.0, "max_position_embeddings": 4096, "initializer_range": 0.02,
      "hidden_act": "silu", "vocab_size": 50304, "pad_token_id": 1, "eos_token_id": 50279,
      "use_cache": true,
    ])

  private static let qwen3 = Self(
    "qwen3-30b-a3b",
    [
      "model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"],
      "torch_dtype": "bfloat16", "tie_word_embeddings": false, "hidden_size": 2048,
      "intermediate_size": 6144, "moe_intermediate_size": 768, "num_hidden_layers": 48,
      "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128,
      "num_experts_per_tok": 8, "norm_topk_prob": true, "decoder_sparse_step": 1,
      "mlp_only_layers": [], "router_aux_loss_coef": 0.001, "output_router_logits": false,
      "rope_theta": 1000000.0, "rope_scaling": .null, "rms_norm_eps": 1e-6,
      "attention_bias": false, "attention_dropout": 0.0, "use_sliding_window": false,
      "sliding_window": .null, "max_window_layers": 48, "max_position_embeddings": 40960,
      "initializer_range": 0.02, "hidden_act": "silu", "vocab_size": 151936,
      "bos_token_id": 151643, "eos_token_id": 151645, "use_cache": true,
    ])

  private static func mixtral(
    _ size: String, width: Int, hidden: Int, layers: Int, heads: Int, vocabulary: Int
  ) -> Self {
    Self(
      "mixtral-\(size)",
      [
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"],
        "torch_dtype": "bfloat16", "tie_word_embeddings": false, "hidden_size": .integer(width),
        "intermediate_size": .integer(hidden), "num_hidden_layers": .integer(layers),
        "num_attention_heads": .integer(heads), "num_key_value_heads": 8, "num_local_experts": 8,
        "num_experts_per_tok": 2, "router_aux_loss_coef": 0.02, "output_router_logits": false,
        "rope_theta": 1000000.0, "rms_norm_eps": 1e-5, "attention_dropout": 0.0,
        "sliding_window": .null, "max_position_embeddings": 32768, "initializer_range": 0.02,
        "hidden_act": "silu", "vocab_size": .integer(vocabulary), "bos_token_id": 1,
        "eos_token_id": 2, "use_cache": true,
      ])
  }
}

// A configuration reads as it does in its file.
extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral
{
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int) { self = .integer(value) }
  package init(floatLiteral value: Double) { self = .number(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
}

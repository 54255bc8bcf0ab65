import Interchange

/// A `config.json`, held against the tensors of a model with everything in it.
enum HFConfigInput {
  private static let scratch = ScratchDirectory("hfconfig")
  private static let tensors: [(name: String, shape: [Int])] = [
    ("shared.weight", [8, 4]), ("encoder.block.1.layer.1.mlp.experts.expert_0.wi.weight", [4, 4]),
    ("model.decoder.layers.3.ffn.router.classifier.weight", [2, 4]), ("lm_head.weight", [8, 4]),
    ("model.layers.0.mlp.experts.1.gate_proj.weight", [4, 4]), ("model.norm.weight", []),
  ]

  static func run(_ bytes: [UInt8]) {
    scratch.write(bytes, "config.json")
    do throws(InterchangeError) {
      let configuration = try ModelConfiguration("\(scratch.path)/config.json")
      let geometry = CheckpointGeometry(tensors, configuration.type)
      for difference in geometry.differences(from: configuration) {
        precondition(!difference.description.isEmpty, "a difference says something")
      }
      // What nothing here knows is written again as it was read.
      let rest = JSONValue.object(configuration.rest.merging(type(configuration)) { $1 })
      scratch.write(Array(rest.json.utf8), "rest.json")
      let again = try ModelConfiguration("\(scratch.path)/rest.json")
      precondition(again.rest == configuration.rest, "the rest reads back equal")
    } catch {
      precondition(error.exitCode == 65, "a file that is there is bad data: \(error)")
      precondition(!error.description.isEmpty, "an error says something")
    }
  }

  private static func type(_ configuration: ModelConfiguration) -> [String: JSONValue] {
    ["model_type": .string(configuration.type.rawValue)]
  }

  static var seeds: [(name: String, bytes: [UInt8])] {
    let texts = [
      (
        "switch",
        """
        {"model_type": "switch_transformers", "num_decoder_layers": null, "num_layers": 4,
         "num_sparse_encoder_layers": 2, "decoder_sparse_step": 0, "vocab_size": 8,
         "router_dtype": "bfloat16", "dense_act_fn": "gelu_new", "eos_token_id": [1, 2]}
        """
      ),
      (
        "nllb",
        """
        {"model_type": "nllb-moe", "expert_capacity": null, "d_model": 4, "decoder_layers": 4,
         "encoder_attention_heads": 2, "decoder_attention_heads": 1, "torch_dtype": "float16",
         "second_expert_policy": "sampling", "architectures": ["NllbMoeModel"]}
        """
      ),
      (
        "mixtral",
        """
        {"model_type": "mixtral", "head_dim": null, "num_key_value_heads": null,
         "sliding_window": 4096, "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"},
         "num_experts": 4, "num_local_experts": 4, "router_jitter_noise": 1e-2}
        """
      ),
      (
        "olmoe",
        """
        {"model_type": "olmoe", "clip_qkv": 8, "rope_scaling": {"type": "linear", "factor": 2.0},
         "id2label": {"0": "\\u00e9\\n\\"\\\\"}, "x": [1, -1.5e-3, true, false, null, [], {}]}
        """
      ),
      (
        "qwen3",
        """
        {"model_type": "qwen3_moe", "mlp_only_layers": [0], "decoder_sparse_step": 2,
         "use_sliding_window": true, "head_dim": 8, "norm_topk_prob": true, "dtype": "float32",
         "quantization_config": null, "attention_bias": true, "num_hidden_layers": 2}
        """
      ),
    ]
    return texts.map { ($0, Array($1.utf8)) }
  }
}

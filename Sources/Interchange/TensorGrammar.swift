/// How the families name their tensors, and which sizes the dimensions of each are.
struct TensorGrammar {
  struct Parsed {
    /// Of `stacks`.
    var stack: Int?
    var layer: Int?
    var expert: Int?
    var isSparse = false
    /// What follows the numbers, or the whole name.
    var rest: String
  }

  let stacks: [String]
  private let type: ModelConfiguration.ModelType

  init(_ type: ModelConfiguration.ModelType) {
    self.type = type
    switch type {
    case .switchTransformers, .nllbMoE, .nllbMoEOld: stacks = ["encoder", "decoder"]
    case .mixtral, .olmoe, .qwen3MoE: stacks = [""]
    }
  }

  /// Takes a name apart: `model.encoder.layers.3.ffn.experts.expert_7.fc1.weight`.
  func parse(_ name: String) -> Parsed {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false)[...]
    if parts.first == "model" { parts.removeFirst() }
    let whole = Parsed(rest: parts.joined(separator: "."))
    var stack = 0
    if stacks.count > 1 {
      guard let number = stacks.firstIndex(where: { parts.first.map(String.init) == $0 }) else {
        return whole
      }
      stack = number
      parts.removeFirst()
    }
    let word = type == .switchTransformers ? "block" : "layers"
    guard parts.first.map(String.init) == word, let layer = number(parts.dropFirst().first) else {
      return whole
    }
    parts = parts.dropFirst(2)
    var parsed = Parsed(stack: stack, layer: layer, rest: "")
    parsed.isSparse = parts.contains("experts") || parts.contains("router")
    if type == .mixtral, parts.contains("block_sparse_moe") { parsed.isSparse = true }
    if parts.prefix(2) == ["mlp", "gate"] { parsed.isSparse = true }
    if let place = parts.firstIndex(of: "experts"), place + 1 < parts.endIndex {
      let text = parts[place + 1]
      parsed.expert = number(text.hasPrefix("expert_") ? text.dropFirst(7) : text)
      parts = ["experts"] + parts[(place + 2)...]
    }
    parsed.rest = parts.joined(separator: ".")
    return parsed
  }

  /// The keys of the dimensions of a tensor, nothing for those of none; nil for a tensor that says
  /// nothing.
  func sizes(_ parsed: Parsed) -> [String]? {
    switch type {
    case .switchTransformers: switchSizes(parsed.rest)
    case .nllbMoE, .nllbMoEOld: nllbSizes(parsed)
    case .mixtral, .olmoe, .qwen3MoE: decoderSizes(parsed.rest)
    }
  }

  private func switchSizes(_ name: String) -> [String]? {
    // `layer.1.mlp.wi.weight`: the number of the sublayer says nothing.
    let parts = name.split(separator: ".")
    let rest = (parts.first == "layer" ? parts.dropFirst(2) : parts[...]).joined(separator: ".")
    switch rest {
    case "shared.weight", "lm_head.weight", "encoder.embed_tokens.weight",
      "decoder.embed_tokens.weight":
      return ["vocab_size", "d_model"]
    case "SelfAttention.q.weight", "SelfAttention.k.weight", "SelfAttention.v.weight",
      "EncDecAttention.q.weight", "EncDecAttention.k.weight", "EncDecAttention.v.weight":
      return ["num_heads * d_kv", "d_model"]
    case "SelfAttention.o.weight", "EncDecAttention.o.weight":
      return ["d_model", "num_heads * d_kv"]
    case "SelfAttention.relative_attention_bias.weight":
      return ["relative_attention_num_buckets", "num_heads"]
    case "mlp.wi.weight", "experts.wi.weight": return ["d_ff", "d_model"]
    case "mlp.wo.weight", "experts.wo.weight": return ["d_model", "d_ff"]
    case "mlp.router.classifier.weight": return ["num_experts", "d_model"]
    case "mlp.router.classifier.bias": return ["num_experts"]
    case "layer_norm.weight", "encoder.final_layer_norm.weight", "decoder.final_layer_norm.weight":
      return ["d_model"]
    default: return nil
    }
  }

  private func nllbSizes(_ parsed: Parsed) -> [String]? {
    let hidden = parsed.stack.map { "\(stacks[$0])_ffn_dim" } ?? ""
    switch parsed.rest {
    case "shared.weight", "lm_head.weight", "encoder.embed_tokens.weight",
      "decoder.embed_tokens.weight":
      return ["vocab_size", "d_model"]
    case "ffn.fc1.weight", "experts.fc1.weight": return [hidden, "d_model"]
    case "ffn.fc2.weight", "experts.fc2.weight": return ["d_model", hidden]
    case "ffn.fc1.bias", "experts.fc1.bias": return [hidden]
    case "ffn.fc2.bias", "experts.fc2.bias": return ["d_model"]
    case "ffn.router.classifier.weight": return ["num_experts", "d_model"]
    case "ffn.router.classifier.bias": return ["num_experts"]
    case let rest where rest.hasSuffix("_proj.weight"): return ["d_model", "d_model"]
    case let rest where rest.hasSuffix("_proj.bias"): return ["d_model"]
    case let rest where rest.contains("layer_norm."): return ["d_model"]
    default: return nil
    }
  }

  private func decoderSizes(_ name: String) -> [String]? {
    let expertHidden = type == .qwen3MoE ? "moe_intermediate_size" : "intermediate_size"
    switch name {
    case "embed_tokens.weight", "lm_head.weight": return ["vocab_size", "hidden_size"]
    case "self_attn.q_proj.weight": return ["num_attention_heads * head_dim", "hidden_size"]
    case "self_attn.k_proj.weight", "self_attn.v_proj.weight":
      return ["num_key_value_heads * head_dim", "hidden_size"]
    case "self_attn.o_proj.weight": return ["hidden_size", "num_attention_heads * head_dim"]
    case "self_attn.q_proj.bias": return ["num_attention_heads * head_dim"]
    case "self_attn.k_proj.bias", "self_attn.v_proj.bias":
      return ["num_key_value_heads * head_dim"]
    case "self_attn.o_proj.bias": return ["hidden_size"]
    case "self_attn.q_norm.weight":
      return [type == .qwen3MoE ? "head_dim" : "num_attention_heads * head_dim"]
    case "self_attn.k_norm.weight":
      return [type == .qwen3MoE ? "head_dim" : "num_key_value_heads * head_dim"]
    case "mlp.gate.weight", "block_sparse_moe.gate.weight": return ["num_experts", "hidden_size"]
    case "mlp.gate_proj.weight", "mlp.up_proj.weight": return ["intermediate_size", "hidden_size"]
    case "mlp.down_proj.weight": return ["hidden_size", "intermediate_size"]
    case "experts.gate_proj.weight", "experts.up_proj.weight", "experts.w1.weight",
      "experts.w3.weight":
      return [expertHidden, "hidden_size"]
    case "experts.down_proj.weight", "experts.w2.weight": return ["hidden_size", expertHidden]
    case "norm.weight", "input_layernorm.weight", "post_attention_layernorm.weight":
      return ["hidden_size"]
    default: return nil
    }
  }

  /// A number of a layer or an expert, no larger than any model has.
  private func number(_ text: Substring?) -> Int? {
    guard let text, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text),
      number < ModelConfiguration.Limits.experts
    else { return nil }
    return number
  }
}

/// What a configuration says of the names and shapes of tensors.
struct ExpectedGeometry {
  struct Stack {
    let layers: Int
    let layersKey: String
    let sparseLayers: [Int]
    let sparseKey: String
  }

  let stacks: [Stack]
  let experts: Int
  let expertsKey: String
  /// By the keys of `TensorGrammar`.
  let sizes: [String: Int]

  init(_ configuration: ModelConfiguration) {
    var sizes = ["vocab_size": configuration.vocabularySize]
    switch configuration.family {
    case .switchTransformers(let model):
      stacks = [
        Self.stack(model.encoder, "num_layers", "encoder_sparse_step"),
        Self.stack(model.decoder, "num_decoder_layers", "decoder_sparse_step"),
      ]
      (experts, expertsKey) = (model.experts, "num_experts")
      sizes["d_model"] = model.width
      sizes["num_heads * d_kv"] = model.heads * model.headWidth
      sizes["num_heads"] = model.heads
      sizes["relative_attention_num_buckets"] = model.relativeBuckets
      sizes["d_ff"] = model.hidden
    case .nllbMoE(let model):
      stacks = [
        Self.stack(model.encoder, "encoder_layers", "encoder_sparse_step"),
        Self.stack(model.decoder, "decoder_layers", "decoder_sparse_step"),
      ]
      (experts, expertsKey) = (model.experts, "num_experts")
      sizes["d_model"] = model.width
      sizes["encoder_ffn_dim"] = model.encoderHidden
      sizes["decoder_ffn_dim"] = model.decoderHidden
    case .decoder(let model):
      stacks = [
        Stack(
          layers: model.layers, layersKey: "num_hidden_layers", sparseLayers: model.sparseLayers,
          sparseKey: "mlp_only_layers")
      ]
      (experts, expertsKey) = (
        model.experts, model.kind == .mixtral ? "num_local_experts" : "num_experts"
      )
      sizes["hidden_size"] = model.width
      sizes["num_attention_heads * head_dim"] = model.heads * model.headWidth
      sizes["num_key_value_heads * head_dim"] = model.keyValueHeads * model.headWidth
      sizes["head_dim"] = model.headWidth
      sizes["intermediate_size"] = model.hidden
      sizes["moe_intermediate_size"] = model.expertHidden
    }
    sizes["num_experts"] = experts
    self.sizes = sizes
  }

  private static func stack(_ stack: SparseStack, _ layersKey: String, _ sparseKey: String) -> Stack
  {
    Stack(
      layers: stack.layers, layersKey: layersKey, sparseLayers: stack.sparseLayers,
      sparseKey: sparseKey)
  }
}

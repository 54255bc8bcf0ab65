import Foundation
import Interchange
import TestSupport
import Testing

private func configuration(_ json: String) throws -> ModelConfiguration {
  let place = try TemporaryDirectory()
  return try ModelConfiguration(place.write(Array(json.utf8), "config.json"))
}

private func golden(_ name: String) throws -> ModelConfiguration {
  try ModelConfiguration(resource("configurations/\(name).json"))
}

private func switchModel(_ model: ModelConfiguration) throws -> SwitchConfiguration {
  guard case .switchTransformers(let found) = model.family else { throw WrongFamily() }
  return found
}
private func nllb(_ model: ModelConfiguration) throws -> NLLBMoEConfiguration {
  guard case .nllbMoE(let found) = model.family else { throw WrongFamily() }
  return found
}
private func decoder(_ model: ModelConfiguration) throws -> DecoderConfiguration {
  guard case .decoder(let found) = model.family else { throw WrongFamily() }
  return found
}
private struct WrongFamily: Error {}

@Suite struct ModelConfigurationTests {
  @Test func switchReads() throws {
    let configuration = try golden("switch-tiny")
    let model = try switchModel(configuration)
    #expect(configuration.type == .switchTransformers && configuration.vocabularySize == 128)
    #expect(configuration.architectures == ["SwitchTransformersForConditionalGeneration"])
    #expect(configuration.weightType == .f32 && configuration.tiesWordEmbeddings)
    #expect(configuration.padToken == 0 && configuration.endTokens == [1])
    #expect(configuration.decoderStartToken == 0 && configuration.beginTokens.isEmpty)
    #expect(model.width == 32 && model.headWidth == 8 && model.hidden == 48 && model.heads == 4)
    #expect(model.encoder == SparseStack(layers: 4, sparseStep: 2, sparseLayers: [1, 3]))
    #expect(model.decoder == model.encoder)
    #expect(model.experts == 8 && model.expertCapacity == 4 && model.routerJitter == 0)
    #expect(model.routerAuxLossCoefficient == 0.01 && model.routerZLossCoefficient == 0.001)
    #expect(model.normEpsilon == 1e-6 && model.activation == .relu && model.dropout == 0)
    // Kept, as it was read, and nothing that has a place.
    #expect(configuration.rest["add_router_probs"] == .bool(false))
    #expect(configuration.rest["transformers_version"] == .string("4.57.6"))
    #expect(Set(configuration.rest.keys).isDisjoint(with: ["d_model", "dtype", "model_type"]))
    let other = try switchModel(golden("switch-tiny-gelu"))
    #expect(other.activation == .geluNew && other.heads == 3)
    #expect(other.encoder.sparseLayers == [1] && other.decoder.sparseLayers == [1, 3])
  }

  @Test func nllbReads() throws {
    let model = try nllb(golden("nllb-moe-tiny"))
    #expect(model.width == 32 && model.encoderHidden == 48 && model.decoderHidden == 48)
    #expect(model.encoder == SparseStack(layers: 4, sparseStep: 2, sparseLayers: [1, 3]))
    #expect(model.experts == 8 && model.expertCapacity == 5 && model.encoderHeads == 4)
    #expect(model.secondExpertPolicy == .all && !model.normalizesBeforeDropping)
    #expect(model.scalesEmbedding && model.positionsMax == 64 && !model.hasRouterBias)
    let masked = try nllb(golden("nllb-moe-tiny-eom"))
    #expect(masked.expertOutputMasking == 0.2 && masked.hasRouterBias)
    #expect(masked.normalizesBeforeDropping && masked.encoder.sparseLayers == [1])
    let configuration = try golden("nllb-moe-tiny")
    #expect(configuration.tiesWordEmbeddings && configuration.decoderStartToken == 2)
    #expect(configuration.rest["num_hidden_layers"] == .integer(4))
  }

  @Test func decodersRead() throws {
    let mixtral = try decoder(golden("mixtral-tiny"))
    #expect(mixtral.kind == .mixtral && mixtral.headWidth == 8 && mixtral.keyValueHeads == 2)
    #expect(mixtral.experts == 8 && mixtral.expertsPerToken == 2 && mixtral.normalizesTopK)
    #expect(mixtral.ropeTheta == 1e6 && mixtral.expertHidden == 56 && mixtral.queryKeyNorm == .none)
    #expect(mixtral.sparseLayers == [0, 1] && mixtral.slidingWindow == nil)
    #expect(mixtral.routerAuxLossCoefficient == 0.02)
    #expect(try golden("mixtral-tiny-bf16").weightType == .bf16)
    let olmoe = try decoder(golden("olmoe-tiny"))
    #expect(olmoe.kind == .olmoe && olmoe.experts == 16 && olmoe.expertHidden == 24)
    #expect(!olmoe.normalizesTopK && olmoe.queryKeyNorm == .wholeVector)
    #expect(olmoe.queryKeyValueClip == nil && olmoe.ropeTheta == 1e4)
    let qwen = try decoder(golden("qwen3-moe-tiny"))
    #expect(qwen.kind == .qwen3MoE && qwen.headWidth == 16 && qwen.queryKeyNorm == .head)
    #expect(qwen.sparseLayers == [1, 2] && qwen.hidden == 48 && qwen.expertHidden == 16)
    #expect(qwen.normalizesTopK && qwen.normEpsilon == 1e-6 && qwen.slidingWindow == nil)
    #expect(try golden("qwen3-moe-tiny").tiesWordEmbeddings)
    #expect(try !golden("olmoe-tiny").tiesWordEmbeddings)
  }

  /// Of a file that names its family and nothing else: what transformers 4.57 takes.
  @Test func defaultsAreThoseOfTransformers() throws {
    let google = try switchModel(configuration(#"{"model_type": "switch_transformers"}"#))
    #expect(google.width == 768 && google.headWidth == 64 && google.hidden == 2048)
    #expect(google.encoder == SparseStack(layers: 12, sparseStep: 4, sparseLayers: [1, 5, 9]))
    #expect(google.decoder == google.encoder && google.routerJitter == 0.01)
    #expect(google.expertCapacity == 64 && google.relativeBuckets == 32 && google.dropout == 0.1)
    for type in ["nllb-moe", "nllb_moe"] {
      let facebook = try nllb(configuration(#"{"model_type": "\#(type)"}"#))
      #expect(facebook.width == 1024 && facebook.encoder.sparseLayers == [3, 7, 11])
      #expect(facebook.experts == 128 && facebook.expertOutputMasking == 0.2)
      #expect(facebook.encoderLayerDrop == 0.05 && facebook.positionsMax == 1024)
    }
    let mixtral = try decoder(configuration(#"{"model_type": "mixtral"}"#))
    #expect(mixtral.width == 4096 && mixtral.hidden == 14336 && mixtral.keyValueHeads == 8)
    #expect(mixtral.headWidth == 128 && mixtral.ropeTheta == 1e6 && mixtral.positionsMax == 131072)
    let olmoe = try configuration(#"{"model_type": "olmoe"}"#)
    #expect(try decoder(olmoe).keyValueHeads == 16 && decoder(olmoe).expertsPerToken == 8)
    #expect(olmoe.endTokens == [50279] && olmoe.padToken == 1 && olmoe.weightType == nil)
    let qwen = try decoder(configuration(#"{"model_type": "qwen3_moe"}"#))
    #expect(qwen.layers == 24 && qwen.hidden == 6144 && qwen.expertHidden == 768)
    #expect(!qwen.normalizesTopK && qwen.ropeTheta == 1e4 && qwen.sparseLayers.count == 24)
  }

  /// Keys as transformers 5 writes them.
  @Test func newSpellingsRead() throws {
    let model = try configuration(
      """
      {"model_type": "qwen3_moe", "num_local_experts": 16, "dtype": "bfloat16",
       "torch_dtype": "float16", "rope_theta": 5.0, "use_sliding_window": true,
       "rope_parameters": {"rope_theta": 10000000, "rope_type": "default"}}
      """)
    #expect(try decoder(model).experts == 16 && decoder(model).ropeTheta == 1e7)
    #expect(try model.weightType == .bf16 && decoder(model).slidingWindow == 4096)
    let old = try configuration(
      #"{"model_type": "olmoe", "torch_dtype": "float16", "clip_qkv": 8}"#)
    #expect(try old.weightType == .f16 && decoder(old).queryKeyValueClip == 8)
  }

  /// The rules of sparse steps at their edges, as transformers computes them.
  @Test(arguments: [
    (#""num_sparse_encoder_layers": 0"#, 12, [1]),
    (#""num_sparse_encoder_layers": 12"#, 1, Array(0..<12)),
    (#""num_sparse_encoder_layers": 13"#, 0, []), (#""encoder_sparse_step": 0"#, 0, []),
    (#""encoder_sparse_step": 5, "num_sparse_encoder_layers": 6"#, 5, [1, 6, 11]),
  ])
  func sparseStepsFollowTransformers(_ member: String, _ step: Int, _ layers: [Int]) throws {
    let stack = try switchModel(
      configuration(#"{"model_type": "switch_transformers", \#(member)}"#)
    ).encoder
    #expect(stack.sparseStep == step && stack.sparseLayers == layers)
  }

  /// What is unknown, contradicts itself or cannot be, with words of what is said of it.
  @Test(arguments: [
    (#"{}"#, "`model_type` is missing"),
    (
      #"{"model_type": "llama"}"#,
      "is \"llama\"; known are switch_transformers, nllb-moe, nllb_moe, mixtral, olmoe, qwen3_moe"
    ),
    (#"{"model_type": 1}"#, "is 1, not a string"),
    (#"{"model_type": "mixtral", "hidden_size": -1}"#, "at offset 26: `hidden_size` is -1, not an"),
    (#"{"model_type": "mixtral", "hidden_size": 0}"#, "is 0, not an integer from 1"),
    (#"{"model_type": "mixtral", "hidden_size": 4096.0}"#, "is 4096.0, not an integer"),
    (#"{"model_type": "mixtral", "hidden_size": null}"#, "is null, not an integer"),
    (#"{"model_type": "mixtral", "hidden_size": true}"#, "is true, not an integer"),
    (#"{"model_type": "mixtral", "vocab_size": 9223372036854775808}"#, "is 9.22"),
    (#"{"model_type": "mixtral", "vocab_size": 9223372036854775807}"#, "not an integer from 1"),
    (#"{"model_type": "mixtral", "hidden_size": 4098}"#, "no multiple of the 32 of `num_att"),
    (#"{"model_type": "mixtral", "num_key_value_heads": 5}"#, "no multiple of the 5 of `num_key"),
    (#"{"model_type": "mixtral", "head_dim": 7}"#, "`head_dim` gives heads of 7, an odd width"),
    (#"{"model_type": "mixtral", "num_experts_per_tok": 9}"#, "not an integer from 1 to 8"),
    (#"{"model_type": "mixtral", "num_experts": 4, "num_local_experts": 8}"#, "is 4, but `num_loc"),
    (#"{"model_type": "mixtral", "rms_norm_eps": "x"}"#, "not a number"),
    (#"{"model_type": "mixtral", "rms_norm_eps": -1}"#, "not a number from 0.0"),
    (#"{"model_type": "mixtral", "dtype": "float8_e4m3fn"}"#, "known are float32, float16, bfloat"),
    (#"{"model_type": "mixtral", "hidden_act": "tanh"}"#, "known are relu, silu, gelu"),
    (#"{"model_type": "mixtral", "eos_token_id": -1}"#, "not an integer from 0 to 31999"),
    (#"{"model_type": "mixtral", "eos_token_id": [1, 32000]}"#, "not an integer from 0 to 31999"),
    (#"{"model_type": "mixtral", "quantization_config": {"bits": 4}}"#, "are quantised; take"),
    (#"{"model_type": "mixtral", "rope_scaling": {"type": "dynamic"}}"#, "is of type \"dynamic\""),
    (#"{"model_type": "mixtral", "rope_scaling": {"type": "linear"}}"#, "`factor` is missing"),
    (
      #"{"model_type": "mixtral", "rope_scaling": {"type": "linear", "factor": 2, "f": 1}}"#,
      "has the key `f`"
    ),
    (
      #"{"model_type": "switch_transformers", "relative_attention_max_distance": 16}"#,
      "is 16, not above half the 32 buckets"
    ),
    (
      #"{"model_type": "mixtral", "rope_parameters": {"partial_rotary_factor": 0.5}}"#,
      "a part of the heads"
    ),
    (#"{"model_type": "mixtral", "rope_parameters": {"full_attention": {}}}"#, "`full_attention`"),
    (#"{"model_type": "mixtral", "rope_scaling": 2}"#, "is 2, not an object"),
    (#"{"model_type": "olmoe", "norm_topk_prob": 1}"#, "is 1, not true or false"),
    (#"{"model_type": "qwen3_moe", "mlp_only_layers": [-1]}"#, "is -1, not an integer from 0"),
    (#"{"model_type": "qwen3_moe", "mlp_only_layers": {}}"#, "not an array of numbers"),
    (#"{"model_type": "qwen3_moe", "decoder_sparse_step": 0}"#, "is 0, not an integer from 1"),
    (#"{"model_type": "nllb-moe", "encoder_attention_heads": 7}"#, "no multiple of the 7"),
    (
      #"{"model_type": "nllb-moe", "second_expert_policy": "x"}"#, "known are all, sampling, random"
    ),
    (#"{"model_type": "nllb-moe", "encoder_layers": 1000000000}"#, "from 1 to 4096"),
    (
      #"{"model_type": "switch_transformers", "router_dtype": "float64"}"#,
      "known are float32, float"
    ),
    (
      #"{"model_type": "switch_transformers", "d_model": 8, "hidden_size": 9}"#,
      "is 9, but `d_model`"
    ),
    (#"{"model_type": "switch_transformers", "d_kv": 8, "d_kv": 8}"#, "`d_kv` is there twice"),
    (
      #"{"model_type": "mixtral", "x": [[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]}"#, "too many brackets"
    ),
    (#"{"model_type": "mixtral"} x"#, "the end of the JSON"), ("[1]", "`{`"), ("", "`{`"),
  ])
  func whatCannotBeIsRefused(_ json: String, _ cause: String) {
    let text = badData { _ = try configuration(json) }
    #expect(text?.contains(cause) == true, "\(text ?? "")")
  }

  /// Every byte of a file changed: an error of bad data or a configuration, never a trap.
  @Test(arguments: ["switch-tiny", "qwen3-moe-tiny"])
  func everyChangedByteIsAnErrorOrAConfiguration(_ name: String) throws {
    let place = try TemporaryDirectory()
    let path = resource("configurations/\(name).json")
    let whole = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    var refused = 0
    for index in whole.indices {
      for mask in [0x01, 0x80, 0xFF] as [UInt8] {
        var bytes = whole
        bytes[index] ^= mask
        let changed = try place.write(bytes, "config.json")
        do throws(InterchangeError) {
          _ = try ModelConfiguration(changed)
        } catch {
          #expect(error.exitCode == 65, "byte \(index): \(error)")
          refused += 1
        }
      }
    }
    #expect(refused > whole.count)
  }

  @Test(arguments: ["0", "-0.5", "1e3", "-12.25E-07", "1E+2"])
  func numbersAsJSONWritesThemRead(_ text: String) throws {
    let model = try configuration(#"{"model_type": "olmoe", "x": \#(text)}"#)
    let number: Double? =
      switch model.rest["x"] {
      case .integer(let value): Double(value)
      case .number(let value): value
      default: nil
      }
    #expect(number == Double(text))
  }

  @Test(arguments: [
    "01", "-", "+1", ".5", "1.", "1e", "1e+", "0x1p3", "inf", "nan", "1.e3", "--1", "1-1",
    "tru",
  ])
  func otherNumbersAreRefused(_ text: String) {
    let error = badData { _ = try configuration(#"{"model_type": "olmoe", "x": \#(text)}"#) }
    #expect(error?.contains("at offset 29: ") == true, "\(error ?? "")")
  }

  /// What is kept can be written, and reads as it was.
  @Test func jsonWritesAndReadsBack() throws {
    let json = """
      {
        "a": [
          1,
          -0.5,
          1e-06,
          true,
          null
        ],
        "b\\"\\\\\\u0007é": {
          "c": "x",
          "d": []
        },
        "model_type": "olmoe"
      }
      """
    let model = try configuration(json)
    #expect(
      model.rest["a"] == .array([.integer(1), .number(-0.5), .number(1e-6), .bool(true), .null]))
    let members = model.rest.merging(["model_type": .string("olmoe")]) { $1 }
    #expect(JSONValue.object(members).json == json)
  }
}

import Foundation
import Interchange
import TestSupport
import Testing

private typealias Tensors = [(name: String, shape: [Int])]

private func tensors(_ name: String) throws -> Tensors {
  try CheckpointFolder(resource("checkpoints/\(name)")).tensors.map { ($0.name, $0.shape) }
}

private func configuration(_ name: String, _ changes: [String: Any] = [:]) throws
  -> ModelConfiguration
{
  let path = resource("configurations/\(name).json")
  let data = try Data(contentsOf: URL(fileURLWithPath: path))
  var members = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
  members.merge(changes) { $1 }
  let place = try TemporaryDirectory()
  let changed = try JSONSerialization.data(withJSONObject: members)
  return try ModelConfiguration(place.write(Array(changed), "config.json"))
}

private func differences(
  _ folder: String, _ name: String, _ changes: [String: Any] = [:],
  _ edit: (inout Tensors) -> Void = { _ in }
) throws -> [String] {
  var tensors = try tensors(folder)
  edit(&tensors)
  let configuration = try configuration(name, changes)
  return CheckpointGeometry(tensors, configuration.type).differences(from: configuration)
    .map(\.description)
}

@Suite struct CheckpointGeometryTests {
  @Test(arguments: [
    ("switch-tiny-bin", "switch-tiny"), ("nllb-moe-tiny-bin", "nllb-moe-tiny"),
    ("mixtral-tiny-sharded", "mixtral-tiny"),
  ])
  func soundModelsAgree(_ folder: String, _ name: String) throws {
    #expect(try differences(folder, name) == [])
  }

  @Test func geometryFollowsFromNames() throws {
    let google = CheckpointGeometry(try tensors("switch-tiny"), .switchTransformers)
    #expect(google.stacks.map(\.name) == ["encoder", "decoder"])
    for stack in google.stacks {
      #expect(stack.layers == 4 && stack.sparseLayers == [1, 3] && stack.experts == 8)
    }
    let sizes = Dictionary(uniqueKeysWithValues: google.sizes.map { ($0.key, $0.value) })
    #expect(
      sizes == [
        "vocab_size": 128, "d_model": 32, "num_heads * d_kv": 32, "num_heads": 4, "d_ff": 48,
        "relative_attention_num_buckets": 32, "num_experts": 8,
      ])
    let facebook = CheckpointGeometry(try tensors("nllb-moe-tiny-sharded"), .nllbMoE)
    #expect(facebook.stacks.allSatisfy { $0.sparseLayers == [1, 3] && $0.experts == 8 })
    // Older files lack the prefix.
    let bare = try tensors("nllb-moe-tiny-sharded").map {
      (name: $0.name.replacing("model.", with: ""), shape: $0.shape)
    }
    #expect(CheckpointGeometry(bare, .nllbMoE).stacks == facebook.stacks)
    let mistral = CheckpointGeometry(try tensors("mixtral-tiny-bf16"), .mixtral)
    #expect(mistral.stacks.map(\.sparseLayers) == [[0, 1]] && mistral.stacks[0].experts == 8)
  }

  /// As the published configuration of switch-c-2048: fewer layers, none with experts, other heads.
  @Test func aConfigurationOfAnotherModelIsFound() throws {
    let found = try differences(
      "switch-tiny", "switch-tiny",
      ["num_decoder_layers": 3, "decoder_sparse_step": 0, "num_heads": 3, "num_experts": 9])
    #expect(
      found == [
        "`num_experts` is 9, the tensors say 8 in the encoder",
        "`num_decoder_layers` is 3, the tensors say 4",
        "`decoder_sparse_step` is experts in no layer, the tensors say layers 1, 3",
        "`num_experts` is 9, the tensors say 8 in the decoder",
        "`num_experts` is 9, the tensors say 8 (decoder.block.1.layer.2.mlp.router.classifier.weight)",
        "`num_heads` is 3, the tensors say 4 "
          + "(decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight)",
        "`num_heads * d_kv` is 24, the tensors say 32 "
          + "(decoder.block.0.layer.0.SelfAttention.k.weight)",
      ])
    let nllb = try differences(
      "nllb-moe-tiny-bin", "nllb-moe-tiny",
      ["encoder_layers": 5, "decoder_ffn_dim": 64, "encoder_sparse_step": 1, "vocab_size": 127])
    #expect(
      nllb.map { String($0.prefix { $0 != "," }) } == [
        "`encoder_layers` is 5", "`encoder_sparse_step` is experts in layers 0",
        "`decoder_ffn_dim` is 64", "`vocab_size` is 127",
      ])
    let mixtral = try differences(
      "mixtral-tiny-sharded", "mixtral-tiny", ["num_key_value_heads": 4, "intermediate_size": 48])
    #expect(
      mixtral.map { String($0.prefix { $0 != "," }) } == [
        "`intermediate_size` is 48", "`num_key_value_heads * head_dim` is 32",
      ])
  }

  @Test func tensorsThatContradictEachOtherAreFound() throws {
    let lost = try differences("switch-tiny", "switch-tiny") { tensors in
      tensors.removeAll {
        $0.name.contains("encoder.block.2.")
          || $0.name.contains("encoder.block.1.layer.1.mlp.experts.expert_3.")
      }
    }
    #expect(
      lost == [
        "`layers of the encoder` is 0 to 3, the tensors say 3 of them",
        "`experts of layer 1 of the encoder` is 0 to 7, the tensors say 7 of them",
      ])
    let bent = try differences("switch-tiny", "switch-tiny") { tensors in
      let index = tensors.firstIndex { $0.name.hasSuffix("expert_3.wi.weight") } ?? 0
      tensors[index].shape = [48, 31]
    }
    #expect(bent.count == 1 && bent[0].hasPrefix("`d_model` is 32 in "), "\(bent)")
    #expect(
      bent.first?.contains("say 31 in decoder.block.1.layer.2.mlp.experts.expert_3.wi") == true)
  }

  /// Names that no model has are none of its layers, however large the numbers.
  @Test func strangeNamesSayNothing() throws {
    let strange: Tensors = [
      ("encoder.block.99999999999999999999.layer.0.layer_norm.weight", [1]),
      ("encoder.block.-1.layer.0.layer_norm.weight", [1]), ("encoder.block", []), ("", []),
      ("decoder.block.+1.x", [1]), ("encoder.block.1.layer.1.mlp.experts", [1]),
      ("encoder.block.1.layer.1.mlp.experts.expert_x.wi.weight", [.max, .max]), ("....", [0]),
    ]
    let geometry = CheckpointGeometry(strange, .switchTransformers)
    #expect(geometry.stacks.map(\.layers) == [2, 0])
    #expect(geometry.stacks[0].experts == 0)
  }
}

import Foundation
import Goldens
import TestSupport
import Testing
import Training

/// Published models out of a store, with all blocks in memory and with the fewest frames: what
/// transformers computes, by every convention of AdamW, and the same bits.
@Suite struct PagedGoldenTests {
  static let whole =
    [
      "switch-tiny", "switch-tiny-gelu", "nllb-moe-tiny", "mixtral-tiny", "olmoe-tiny",
      "qwen3-moe-tiny",
    ] + Golden.variants
  /// The same weights in other containers, and where their goldens are.
  static let containers = [
    ("mixtral-tiny-sharded", "mixtral-tiny"), ("switch-tiny-bin", "switch-tiny"),
    ("mixtral-tiny-bf16", "mixtral-tiny-bf16"), ("nllb-moe-tiny-bf16", "nllb-moe-tiny-bf16"),
    ("nllb-moe-tiny-eom", "nllb-moe-tiny-eom"),
  ]

  @Test(arguments: whole) func allQuantitiesAreThoseOfTransformers(_ name: String) throws {
    let report = try Comparison(Golden(name)).run()
    #expect(report.failures == [], "\(name)")
    #expect(report.same_bits, "\(name)")
    for found in [report.resident, report.paged].flatMap(\.values) {
      #expect(found.eval_logits != nil && found.train_logits != nil, "\(name)")
      #expect(found.gradient_norms != nil && found.adamw_losses?.count == 4, "\(name)")
    }
    #expect(Set(report.paged.keys) == ["full", "padded"])
  }

  @Test(arguments: containers) func everyContainerHasTheWeights(
    _ name: String, _ values: String
  ) throws {
    let golden = try Golden(folder: Golden.folder(name), values: Golden.folder(values))
    let report = try Comparison(golden).run()
    #expect(report.passed, "\(name): \(report.failures)")
    #expect(report.paged["padded"]?.eval_logits != nil, "\(name)")
  }

  /// Cut experts have other sums, within the same tolerances. Those of an encoder may have fewer
  /// units than slices have together.
  @Test(arguments: ["nllb-moe-tiny", "nllb-untied"], [2, 4])
  func slicedExpertsAreTheSame(_ name: String, _ slices: Int) throws {
    let report = try Comparison(Golden(name), slices: slices).run()
    #expect(report.passed, "\(name): \(report.failures)")
  }

  /// The highest bit of one fraction.
  @Test func aDamagedWeightIsNoticed() throws {
    let directory = try TemporaryDirectory()
    let source = Golden.folder("mixtral-tiny")
    for name in ["config.json", "model.safetensors", "golden.json", "golden.safetensors"] {
      try FileManager.default.copyItem(
        atPath: "\(source)/\(name)", toPath: "\(directory.path)/\(name)")
    }
    let path = "\(directory.path)/model.safetensors"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    bytes[bytes.count - 2] ^= 0x40
    try bytes.write(to: URL(fileURLWithPath: path))
    let report = try Comparison(Golden(folder: directory.path)).run()
    #expect(!report.passed)
    #expect(report.failures.contains { $0.hasPrefix("paged, full: eval logits") })
    #expect(report.same_bits)
  }
}

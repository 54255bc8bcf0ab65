import Base
import Foundation
import Goldens
import Interchange
import Kernels
import Layers
import Models
import Testing

/// What transformers 4.57 computes, with the same weights: logits, losses and the norm of every
/// tensor's gradient, of batches with and without padding. Experts are in memory here.
@Suite struct GoldenTests {
  static let names =
    [
      "switch-tiny", "switch-tiny-gelu", "nllb-moe-tiny", "mixtral-tiny", "olmoe-tiny",
      "qwen3-moe-tiny",
    ] + Golden.variants
  /// Of NLLB-MoE transformers takes the wrong router losses: its goldens are without.
  private func tiny(_ golden: Golden, _ name: String, _ kind: Golden.Case) throws -> TinyModel {
    try TinyModel(golden, hasRouterLosses: !name.hasPrefix("nllb"), kind)
  }

  @Test(arguments: names + ["nllb-moe-tiny-eom"], Golden.Case.allCases)
  func logitsAndLossOfEvaluation(_ name: String, _ kind: Golden.Case) throws {
    let golden = try Golden(name)
    let tiny = try tiny(golden, name, kind)
    tiny.forward(mode: .evaluation)
    try expectLogits(tiny, golden, kind, "eval", name)
    let loss = try #require(golden.loss(kind, "eval"))
    #expect(abs(tiny.loss(mode: .evaluation) - loss) < 1e-5, "\(name) \(kind)")
  }

  @Test(arguments: names, Golden.Case.allCases)
  func lossAndGradientsOfTraining(_ name: String, _ kind: Golden.Case) throws {
    let golden = try Golden(name)
    let tiny = try tiny(golden, name, kind)
    let loss = try #require(golden.loss(kind, "train"))
    #expect(abs(tiny.loss() - loss) < 1e-5, "\(name) \(kind)")
    try expectLogits(tiny, golden, kind, "train", name)
    let found = norms(tiny)
    let wanted = golden.gradientNorms(kind)
    #expect(Set(found.keys) == Set(wanted.keys))
    for (tensor, norm) in wanted {
      let ours = try #require(found[tensor], "\(tensor)")
      let theirs = norm ?? 0
      #expect(abs(ours - theirs) <= 1e-4 * theirs + 1e-7, "\(tensor): \(ours), \(theirs)")
    }
  }

  private func expectLogits(
    _ tiny: TinyModel, _ golden: Golden, _ kind: Golden.Case, _ mode: String, _ name: String
  ) throws {
    let wanted = try #require(golden.logits(kind, mode))
    let found = tiny.model.logits().values
    try #require(found.count == wanted.count)
    let worst = zip(found, wanted).map { abs($0 - $1) }.max() ?? 0
    #expect(worst < 2e-5, "\(name) \(kind) \(mode): \(worst)")
  }

  /// The norm of each checkpoint tensor's gradient.
  private func norms(_ tiny: TinyModel) -> [String: Double] {
    func norm(_ values: some Sequence<Float>) -> Double {
      values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    }
    let gradients = tiny.gradients()
    let (description, dense) = (tiny.model.description, tiny.model.dense)
    var norms: [String: Double] = [:]
    for slot in description.layout.slots {
      let gradient = dense.gradient(slot)
      for part in slot.parts {
        let isVector = slot.rows == 1 && !slot.decays
        norms[part.name] = norm(
          (isVector ? gradient.columns(part.rows) : gradient.rows(part.rows)).values)
      }
    }
    let shape = description.experts
    for layer in description.layers {
      guard case .mixture(let mixture) = layer.feedForward else { continue }
      for (index, names) in mixture.names.enumerated() {
        let values = gradients[.expert(layer: mixture.number, index)]
        let size = shape.hidden * shape.width
        // Units that the checkpoint does not have are a part, and their gradients zero.
        func part(_ range: Range<Int>) -> Double { values.map { norm($0[range]) } ?? 0 }
        norms[names.first] = part(0..<size)
        norms[names.second] = part(size..<2 * size)
        if let third = names.third { norms[third] = part(2 * size..<3 * size) }
        let biases = shape.matrixParameters
        if let bias = names.firstBias { norms[bias] = part(biases..<biases + shape.hidden) }
        if let bias = names.secondBias {
          norms[bias] = part(biases + shape.hidden..<shape.parametersPerBlock)
        }
      }
    }
    return norms
  }
}

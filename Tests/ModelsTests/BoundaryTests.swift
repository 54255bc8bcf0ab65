import Base
import Kernels
import Layers
import Models
import Testing

/// Boundaries in bfloat16, and those of one layer at a time.
@Suite struct BoundaryTests {
  private func tiny(
    _ family: FamilyGradientTests.Family, _ rule: BoundaryRule, seed: UInt64 = 3
  ) -> TinyModel {
    TinyModel(
      FamilyGradientTests.description(family), smoothing: 0.1, seed: seed, boundaries: rule)
  }

  private func bits(_ tiny: TinyModel, _ gradients: [BlockID: [Float]]) -> [[UInt32]] {
    let dense = tiny.model.dense
    return gradients.sorted { $0.key < $1.key }.map { $0.value.map(\.bitPattern) }
      + dense.layout.slots.map { dense.gradient($0).values.map(\.bitPattern) }
  }

  /// With memory for one layer's boundaries, whoever runs the sweeps keeping the others: the same
  /// bits, also of a second backward sweep, and after an evaluation that kept nothing.
  @Test(arguments: FamilyGradientTests.Family.allCases, [BoundaryRule.Precision.fp32, .bf16])
  func aWindowChangesNoBit(
    _ family: FamilyGradientTests.Family, _ precision: BoundaryRule.Precision
  ) {
    let all = tiny(family, BoundaryRule(precision))
    let window = tiny(family, BoundaryRule(precision, isWindow: true))
    let wanted = bits(all, all.gradients())
    #expect(bits(window, window.gradients()) == wanted)
    #expect(bits(window, window.backward()) == wanted)
    #expect(window.loss(mode: .evaluation) == all.loss(mode: .evaluation))
    #expect(bits(window, window.gradients()) == wanted)
  }

  /// What is kept of a training step is bfloat16; an evaluation is not rounded.
  @Test(arguments: FamilyGradientTests.Family.allCases)
  func everyBoundaryOfTrainingIsRounded(_ family: FamilyGradientTests.Family) {
    let (exact, rounded) = (tiny(family, BoundaryRule()), tiny(family, BoundaryRule(.bf16)))
    rounded.forward()
    for layer in rounded.model.description.layers {
      for x in rounded.model.inputs(of: layer) {
        #expect(x.values.allSatisfy { $0.bitPattern & 0xFFFF == 0 })
      }
    }
    #expect(rounded.loss(mode: .evaluation) == exact.loss(mode: .evaluation))
    #expect(rounded.loss() != exact.loss())
  }

  /// Half a unit of bfloat16 is 2^-9 of a number: the gradient of each tensor is off by a few of
  /// these, in no preferred direction. Of a seed with which the rounding changes no route: another
  /// route is another function.
  @Test(arguments: FamilyGradientTests.Family.allCases)
  func gradientsAreThoseOfExactBoundariesButForTheRounding(
    _ family: FamilyGradientTests.Family
  ) throws {
    let pairs = (3...12).lazy.map { (seed: UInt64) in
      (
        tiny(family, BoundaryRule(), seed: seed), tiny(family, BoundaryRule(.bf16), seed: seed)
      )
    }
    let (exact, rounded) = try #require(
      pairs.first { exact, rounded in
        for tiny in [exact, rounded] { tiny.forward() }
        return exact.model.routings.flatMap { $0.gates.map(\.choice) }
          == rounded.model.routings.flatMap { $0.gates.map(\.choice) }
      })
    let (wanted, found) = (exact.gradients(), rounded.gradients())
    #expect(abs(exact.loss() - rounded.loss()) < 2e-3 * exact.loss())
    for (block, gradient) in wanted {
      expectNear(try #require(found[block]), gradient, "\(block)")
    }
    for slot in exact.model.dense.layout.slots {
      expectNear(
        rounded.model.dense.gradient(slot).values, exact.model.dense.gradient(slot).values,
        slot.parts[0].name)
    }
  }

  private func expectNear(_ found: [Float], _ wanted: [Float], _ name: String) {
    func product(_ a: [Float], _ b: [Float]) -> Double {
      zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    let length = product(wanted, wanted).squareRoot()
    guard length > 1e-5 else { return }
    let off = zip(found, wanted).map { $0 - $1 }
    let distance = product(off, off).squareRoot()
    #expect(distance < 0.05 * length, "\(name): \(distance / length)")
  }

  /// A number that is none is seen in the loss, not rounded away.
  @Test func aNaNStaysOne() {
    let tiny = tiny(.mixtral, BoundaryRule(.bf16))
    let table = tiny.model.dense.weights(tiny.model.description.embedding.table)
    table.fill(Float(bitPattern: 0x7FFF_FFFF))
    #expect(!tiny.loss().isFinite)
  }

  /// The memory that is granted is the memory that is taken, and a window takes less.
  @Test func aWindowTakesLess() {
    let description = FamilyGradientTests.description(.zcode)
    let limits = BatchLimits(microBatches: 2, microBatchRows: 16, sequenceRows: 9, expertRows: 16)
    func bytes(_ rule: BoundaryRule) -> Int {
      Transformer.byteCount(description, limits, training: true, boundaries: rule, workers: 1)
    }
    let wide = limits.rows * description.width * 4
    // Two layers a side: 5 + 7 boundaries, or 4 of one layer and what leaves each side.
    #expect(bytes(BoundaryRule()) - bytes(BoundaryRule(isWindow: true)) == 6 * wide)
    #expect(bytes(BoundaryRule(.bf16)) == bytes(BoundaryRule()))
    #expect(description.sublayerInputs == 10 && description.sublayerInputsOfLayer == 3)
  }
}

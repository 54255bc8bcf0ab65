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

  /// What some or all layers keep is what they would compute again: the same bits, also of a second
  /// backward sweep, after an evaluation, and beside a window.
  @Test(arguments: FamilyGradientTests.Family.allCases, [0..<9, 1..<2])
  func aTapeChangesNoBit(_ family: FamilyGradientTests.Family, _ layers: Range<Int>) {
    let layers = layers.clamped(to: 0..<FamilyGradientTests.description(family).layers.count)
    for precision in [BoundaryRule.Precision.fp32, .bf16] {
      let wanted = { bits($0, $0.gradients()) }(tiny(family, BoundaryRule(precision)))
      for isWindow in [false, true] {
        let kept = tiny(
          family, BoundaryRule(precision, isWindow: isWindow, tapes: layers))
        #expect(bits(kept, kept.gradients()) == wanted)
        #expect(kept.loss(mode: .evaluation).isFinite)
        #expect(bits(kept, kept.gradients()) == wanted)
        #expect(bits(kept, kept.backward()) == wanted)
      }
    }
  }

  /// What a tape holds is used: weights that change between the sweeps are seen by who computes
  /// again.
  @Test(arguments: FamilyGradientTests.Family.allCases)
  func aTapeIsUsed(_ family: FamilyGradientTests.Family) {
    let gradients = [0..<0, 0..<1].map { layers in
      let tiny = tiny(family, BoundaryRule(tapes: layers))
      tiny.forward()
      let input = tiny.model.description.layers[0].selfAttention.input.weight
      tiny.model.dense.weights(input).fill(0.125)
      return bits(tiny, tiny.backward())
    }
    #expect(gradients[0] != gradients[1])
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

  /// Half a unit of bfloat16 is 2^-9 of a number: the gradient of every tensor is off by a few of
  /// these. Not where the rounding gives a row to another expert or turns a unit of ReLU on or off,
  /// which changes the function: so of many seeds one must do, where a wrong recomputation would be
  /// seen with all. With weights large enough for what a sublayer adds to be more than what the
  /// rounding takes.
  @Test(arguments: FamilyGradientTests.Family.allCases)
  func gradientsAreThoseOfExactBoundariesButForTheRounding(
    _ family: FamilyGradientTests.Family
  ) throws {
    var best = (name: "no seed with the same routes", off: Double.infinity)
    for seed in 3...40 as ClosedRange<UInt64> {
      let exact = tiny(family, BoundaryRule(), seed: seed)
      let rounded = tiny(family, BoundaryRule(.bf16), seed: seed)
      for tiny in [exact, rounded] { FamilyGradientTests.enlarge(tiny.model.dense) }
      let (wanted, found) = (gradients(exact), gradients(rounded))
      guard routes(exact) == routes(rounded) else { continue }
      #expect(abs(exact.loss() - rounded.loss()) < 5e-3 * exact.loss())
      #expect(wanted.keys == found.keys)
      let worst = wanted.map { name, wanted in
        (name: name, off: distance(found[name] ?? [], wanted))
      }.max { $0.off < $1.off }
      if let worst, worst.off < best.off { best = worst }
    }
    #expect(best.off < 0.03, "\(best.name)")
  }

  /// By name of the block or tensor.
  private func gradients(_ tiny: TinyModel) -> [String: [Float]] {
    var all: [String: [Float]] = [:]
    for (block, gradient) in tiny.gradients() { all["\(block)"] = gradient }
    for slot in tiny.model.dense.layout.slots {
      all[slot.parts[0].name] = tiny.model.dense.gradient(slot).values
    }
    return all
  }

  /// The rows that each expert got, those of full experts left out.
  private func routes(_ tiny: TinyModel) -> [[[Int32]]] {
    tiny.model.routings.map { routing in
      (0..<routing.rows.expertCount).map { Array(routing.rows.rows[routing.rows.entries(of: $0)]) }
    }
  }

  /// Of what should be `wanted`, in its lengths; 0 where that is nothing but rounding.
  private func distance(_ found: [Float], _ wanted: [Float]) -> Double {
    func length(_ values: [Float]) -> Double {
      values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    }
    guard length(wanted) > 1e-5 else { return 0 }
    return length(zip(found, wanted).map { $0 - $1 }) / length(wanted)
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
    // Queries, keys, values and context, twice in the decoder; and the hidden units.
    let attention = limits.rows * 4 * description.width * 4
    let hidden = limits.rows * 12 * 4
    #expect(
      description.layers.map { description.tapeBytes($0, limits) }
        == [1, 1, 2, 2].map { $0 * attention + hidden })
    #expect(
      bytes(BoundaryRule(tapes: 1..<3)) - bytes(BoundaryRule()) == 3 * attention + 2 * hidden)
    #expect(description.sublayerInputs == 10 && description.sublayerInputsOfLayer == 3)
  }
}

import Base
import Kernels
import Layers
import Models
import Testing

/// The gradients of every family, as small as it can be with all that makes it that family.
@Suite struct FamilyGradientTests {
  enum Family: String, CaseIterable, Sendable {
    case zcode, switchTransformer, nllb, mixtral, olmoe, qwen3
    /// What the published ones do not have.
    case untiedSwitch, windowedMixtral, clippedOlmoe
  }

  @Test(arguments: Family.allCases) func everyTensorHasTheRightGradient(_ family: Family) throws {
    // A seed without near ties: a step must not change a choice.
    let tiny = TinyModel(
      Self.description(family), smoothing: 0,
      seed: family == .olmoe ? 4 : 3)
    Self.enlarge(tiny.model.dense)
    let experts = tiny.gradients()
    let dense = tiny.model.dense
    let computed = dense.layout.slots.map { dense.gradient($0).values }
    for (number, slot) in dense.layout.slots.enumerated() {
      GradientCheck(tiny).check(
        slot.parts[0].name, number, dense.weights(slot), computed[number])
    }
    #expect(experts.count >= 4)
    for (number, block) in experts.keys.sorted().enumerated() {
      let weights = try #require(tiny.experts[block])
      let gradient = try #require(experts[block])
      GradientCheck(tiny).check(
        "\(block)", number, weights.matrix(rows: 1, columns: weights.count), gradient)
    }
  }

  /// Weights as small as some families begin with: after a norm the steps of a difference are large.
  static func enlarge(_ dense: DenseParameters) {
    for slot in dense.layout.slots {
      guard case .uniform(let bound) = slot.initial, bound < 0.1 else { continue }
      scale(dense.weights(slot), by: 0.5 / bound, on: .inline)
    }
  }

  @Test(arguments: Family.allCases) func threadsChangeNoBit(_ family: Family) {
    let one = TinyModel(Self.description(family), smoothing: 0)
    let several = TinyModel(Self.description(family), smoothing: 0, threads: 3)
    #expect(one.gradients() == several.gradients())
    for slot in one.model.dense.layout.slots {
      let (a, b) = (one.model.dense.gradient(slot), several.model.dense.gradient(slot))
      #expect(a.values == b.values, "\(slot.parts[0].name)")
    }
  }

  /// An expert cut in slices is the same up to rounding.
  @Test(arguments: [Family.nllb, .mixtral]) func slicesSumToTheWhole(_ family: Family) {
    let whole = TinyModel(Self.description(family), smoothing: 0)
    let cut = TinyModel(Self.description(family, slices: 3), smoothing: 0)
    #expect(abs(whole.loss() - cut.loss()) < 1e-5)
    _ = (whole.gradients(), cut.gradients())
    for slot in whole.model.dense.layout.slots {
      let (a, b) = (whole.model.dense.gradient(slot), cut.model.dense.gradient(slot))
      for (x, y) in zip(a.values, b.values) {
        #expect(abs(x - y) < 1e-5, "\(slot.parts[0].name)")
      }
    }
  }

  static func description(_ family: Family, slices: Int = 1) -> ModelDescription {
    switch family {
    case .zcode:
      Zcode(
        width: 8, heads: 2, hidden: 12, encoderLayers: 2, decoderLayers: 2, sparseStep: 2,
        vocabulary: 13, experts: ExpertShape(count: 3, width: 8, hidden: 12, slices: slices)
      ).description(TopOneRule())
    case .switchTransformer:
      SwitchTransformer(
        width: 8, heads: 2, headWidth: 6, hidden: 12, encoderLayers: 2, decoderLayers: 2,
        encoderSparse: [1], decoderSparse: [0, 1], vocabulary: 13, activation: .geluTanh,
        epsilon: 1e-6, positionBuckets: 8, positionDistanceMax: 6,
        experts: ExpertShape(
          count: 3, width: 8, hidden: 12, activation: .geluTanh, slices: slices)
      ).description(rule(k: 1, .probability, .perSequence(3), .sequence, .keptOrFirst))
    case .untiedSwitch:
      SwitchTransformer(
        width: 8, heads: 2, headWidth: 3, hidden: 12, encoderLayers: 1, decoderLayers: 2,
        encoderSparse: [0], decoderSparse: [1], vocabulary: 13, activation: .gelu,
        epsilon: 1e-6, positionBuckets: 7, positionDistanceMax: 6, gateHasBias: true,
        isTied: false,
        experts: ExpertShape(count: 3, width: 8, hidden: 12, activation: .gelu, slices: slices)
      ).description(Self.quietEncoder)
    case .nllb:
      NLLBMoE(
        width: 8, encoderHeads: 2, decoderHeads: 4, encoderHidden: 12, decoderHidden: 10,
        encoderLayers: 2, decoderLayers: 2, encoderSparse: [1], decoderSparse: [0, 1],
        vocabulary: 13, activation: .relu, scalesEmbedding: true, gateHasBias: true,
        padding: 1,
        experts: ExpertShape(count: 3, width: 8, hidden: 12, hasBiases: true, slices: slices)
      ).description(rule(k: 2, .shareOfKept, .perMicroBatch(6), .layer, .choices))
    case .mixtral:
      Mixtral(
        width: 8, heads: 4, keyHeads: 2, headWidth: 4, layers: 2, vocabulary: 13, epsilon: 1e-5,
        rotary: RotaryPositions(base: 1e4), isTied: false, experts: gated(slices: slices)
      ).description(rule(k: 2, .shareOfChoices, .unlimited, .stack, .choices))
    case .windowedMixtral:
      Mixtral(
        width: 8, heads: 4, keyHeads: 1, headWidth: 4, layers: 2, vocabulary: 13, epsilon: 1e-5,
        rotary: RotaryPositions(
          base: 1e4,
          scaling: .ramp(
            factor: 2, slow: 0.1, fast: 1, length: 20, isRounded: true, amplitude: 1.2)),
        window: 3, isTied: true, experts: gated(slices: slices)
      ).description(rule(k: 2, .shareOfChoices, .unlimited, .stack, .choices))
    case .olmoe:
      OLMoE(
        width: 8, heads: 2, keyHeads: 2, layers: 2, vocabulary: 13, epsilon: 1e-5,
        rotary: RotaryPositions(base: 1e4), isTied: false, experts: gated(slices: slices)
      ).description(rule(k: 3, .probability, .unlimited, .stack, .choices))
    case .clippedOlmoe:
      OLMoE(
        width: 8, heads: 4, keyHeads: 2, layers: 2, vocabulary: 13, epsilon: 1e-5,
        rotary: RotaryPositions(base: 1e4), clip: 1.1, attentionHasBiases: true, isTied: false,
        experts: gated(slices: slices)
      ).description(rule(k: 3, .probability, .unlimited, .stack, .choices))
    case .qwen3:
      Qwen3MoE(
        width: 8, heads: 4, keyHeads: 2, headWidth: 6, layers: 3, vocabulary: 13, epsilon: 1e-6,
        rotary: RotaryPositions(base: 1e4), isTied: true, denseHidden: 10, sparse: [1, 2],
        experts: gated(slices: slices)
      ).description(rule(k: 2, .shareOfChoices, .unlimited, .stack, .choices))
    }
  }

  private static var quietEncoder: TopKRule {
    var rule = rule(k: 1, .probability, .perSequence(3), .sequence, .keptOrFirst)
    rule.sidesWithoutLosses = [.encoder]
    return rule
  }

  private static func gated(slices: Int) -> ExpertShape {
    ExpertShape(
      count: 4, width: 8, hidden: 12, activation: .silu, isGated: true, slices: slices)
  }

  private static func rule(
    k: Int, _ combine: TopKGate.Combine, _ capacity: TopKGate.Capacity, _ pool: TopKRule.Pool,
    _ share: RouterLoss.Share
  ) -> TopKRule {
    var rule = TopKRule()
    (rule.k, rule.combine, rule.trainingCapacity) = (k, combine, capacity)
    (rule.pool, rule.share) = (pool, share)
    (rule.balanceCoefficient, rule.zCoefficient) = (0.5, 0.05)
    return rule
  }
}

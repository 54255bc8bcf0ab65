import Base
import Goldens
import Kernels
import Models
import Optimizers
import Testing

/// Three steps of AdamW by the four conventions people train with: an expert without tokens is
/// skipped, or has a gradient of zero; plain, or clipped to a global norm of 1 and without decay of
/// vectors.
@Suite struct GoldenOptimizerTests {
  struct Convention: Sendable {
    let name: String
    let skipsUntouched: Bool
    let isClipped: Bool
  }
  static let conventions = [
    Convention(name: "skip_missing", skipsUntouched: true, isClipped: false),
    Convention(name: "zero_missing", skipsUntouched: false, isClipped: false),
    Convention(name: "skip_missing_clip1_nodecay1d", skipsUntouched: true, isClipped: true),
    Convention(name: "zero_missing_clip1_nodecay1d", skipsUntouched: false, isClipped: true),
  ]

  @Test(arguments: GoldenTests.names, Golden.Case.allCases)
  func lossesOfThreeSteps(_ name: String, _ kind: Golden.Case) throws {
    let golden = try Golden(name)
    for convention in Self.conventions {
      let tiny = try TinyModel(golden, hasRouterLosses: !name.hasPrefix("nllb"), kind)
      // OLMoE and NLLB-MoE call all experts: without tokens they have gradients of zero there.
      let skips = convention.skipsUntouched && !name.hasPrefix("olmoe") && !name.hasPrefix("nllb")
      let training = Training(tiny, skipsUntouched: skips, isClipped: convention.isClipped)
      let wanted = try #require(golden.adamLosses(kind, convention.name))
      let found = (0..<3).map { _ in training.step() } + [tiny.loss()]
      for (ours, theirs) in zip(found, wanted) {
        #expect(
          abs(ours - theirs) < 5e-5, "\(name) \(kind) \(convention.name): \(found), \(wanted)")
      }
    }
  }
}

/// AdamW over a model whose experts are in memory.
private final class Training {
  private let tiny: TinyModel
  private let skipsUntouched: Bool
  private let isClipped: Bool
  private var moments: [BlockID: (m: FloatBuffer, v: FloatBuffer)] = [:]
  private var updates: [BlockID: Int] = [:]
  private var steps = 0

  init(_ tiny: TinyModel, skipsUntouched: Bool, isClipped: Bool) {
    (self.tiny, self.skipsUntouched, self.isClipped) = (tiny, skipsUntouched, isClipped)
    for (block, weights) in tiny.experts {
      moments[block] = (FloatBuffer(count: weights.count), FloatBuffer(count: weights.count))
    }
  }

  /// - Returns: the loss before the step.
  func step() -> Double {
    let loss = tiny.loss()
    let gradients = tiny.gradients()
    let dense = tiny.model.dense
    let squares =
      gradients.values.reduce(0.0) { $0 + $1.reduce(0.0) { $0 + Double($1) * Double($1) } }
      + dense.layout.slots.reduce(0.0) { $0 + sumOfSquares(dense.gradient($1)) }
    let factor = isClipped ? min(1, 1 / (squares.squareRoot() + 1e-6)) : 1
    steps += 1
    for slot in dense.layout.slots {
      // In a checkpoint a vector has one dimension; a bias table of positions has two.
      let isVector = slot.rows == 1 && !slot.decays
      dense.update(slot, with: step(steps, factor, isVector: isVector), on: .inline)
    }
    #expect(sumOfSquares(dense.flat(\.gradients, 0..<dense.gradients.count)) == 0)
    for block in tiny.experts.keys.sorted() {
      update(block, gradients[block], factor)
    }
    return loss
  }

  private func step(_ index: Int, _ factor: Double, isVector: Bool) -> AdamWStep {
    let decay = isClipped && isVector ? 0 : 0.1
    return AdamW(beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: decay)
      .step(index, learningRate: 3e-3, gradientScale: Float(factor))
  }

  private func update(_ block: BlockID, _ gradient: [Float]?, _ factor: Double) {
    guard gradient != nil || !skipsUntouched else { return }
    guard let weights = tiny.experts[block], let (m, v) = moments[block] else { return }
    updates[block, default: 0] += 1
    let values = FloatBuffer(count: weights.count)
    let row = values.matrix(rows: 1, columns: values.count)
    for (index, value) in (gradient ?? []).enumerated() { row[0, index] = value }
    let matrices = tiny.model.description.experts.matrixParameters
    for (range, isVector) in [(0..<matrices, false), (matrices..<weights.count, true)] {
      func part(_ buffer: FloatBuffer) -> Matrix {
        buffer.matrix(rows: 1, columns: range.count, offset: range.lowerBound)
      }
      step(updates[block] ?? 1, factor, isVector: isVector).update(
        weights: part(weights), m: part(m), v: part(v), gradient: part(values), on: .inline)
    }
  }
}

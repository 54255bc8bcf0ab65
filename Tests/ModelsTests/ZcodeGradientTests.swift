import Base
import Kernels
import Layers
import Models
import Testing

@Suite struct ZcodeGradientTests {
  private let tiny = TinyModel()

  @Test func everyDenseTensorHasTheRightGradient() {
    _ = tiny.gradients()
    let dense = tiny.model.dense
    let computed = dense.layout.slots.map { dense.gradient($0).values }
    for (number, slot) in dense.layout.slots.enumerated() {
      GradientCheck(tiny).check(
        slot.parts[0].name, number, dense.weights(slot), computed[number])
    }
  }

  @Test func everyTouchedExpertHasTheRightGradient() throws {
    let gradients = tiny.gradients()
    #expect(gradients.count >= 4, "the batch touches experts in both stacks")
    for (number, block) in gradients.keys.sorted().enumerated() {
      let weights = try #require(tiny.experts[block])
      let gradient = try #require(gradients[block])
      #expect(gradient.contains { $0 != 0 })
      GradientCheck(tiny).check(
        "\(block)", number, weights.matrix(rows: 1, columns: weights.count), gradient)
    }
  }

  /// With jitter the gate sees noise that is a function of step and token: the same in every pass.
  @Test func theGateHasTheRightGradientUnderJitter() {
    let tiny = TinyModel(jitter: 0.1)
    _ = tiny.gradients()
    let dense = tiny.model.dense
    for (number, slot) in dense.layout.slots.enumerated()
    where slot.parts[0].name.contains("router") {
      let computed = dense.gradient(slot).values
      #expect(computed.contains { $0 != 0 })
      GradientCheck(tiny).check(slot.parts[0].name, number, dense.weights(slot), computed)
    }
  }
}

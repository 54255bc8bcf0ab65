import Base
import Kernels
import Layers
import Models
import Testing

/// A token that finds its expert full passes by the residual alone.
@Test func aFullExpertDropsTokens() {
  let tight = TinyModel(capacityFactor: 0.5)
  tight.forward()
  #expect(tight.model.droppedShare > 0)
  for routing in tight.model.routings {
    for gate in routing.gates {
      let capacity = gate.capacity ?? .max
      for expert in 0..<3 {
        let kept = zip(gate.choice, gate.kept).count { $0 == Int32(expert) && $1 }
        #expect(kept == min(capacity, gate.counts[expert]))
      }
    }
  }
  let loose = TinyModel(capacityFactor: 0.5)
  loose.forward(mode: .generation)
  #expect(loose.model.droppedShare == 0)
}

/// An FFN is a sum over hidden units: cut into slices it gives the same model, up to rounding.
@Test func slicesSumToTheWholeExpert() {
  let (whole, cut) = (TinyModel(), TinyModel(slices: 3))
  #expect(abs(whole.loss() - cut.loss()) < 1e-5)
  let (wholeGradients, cutGradients) = (whole.gradients(), cut.gradients())
  #expect(cutGradients.count == 3 * wholeGradients.count)
  let slots = whole.model.dense.layout.slots
  for slot in slots {
    let (a, b) = (whole.model.dense.gradient(slot).values, cut.model.dense.gradient(slot).values)
    for (x, y) in zip(a, b) { #expect(abs(x - y) < 1e-5, "\(slot.parts[0].name)") }
  }
}

/// Which thread computes what is chance; what is computed is not.
@Test func threadsChangeNoBit() {
  let one = TinyModel(threads: 1)
  let reference = one.gradients()
  for threads in [2, 3] {
    let several = TinyModel(threads: threads)
    #expect(several.gradients() == reference)
    for slot in one.model.dense.layout.slots {
      #expect(several.model.dense.gradient(slot).values == one.model.dense.gradient(slot).values)
    }
  }
}

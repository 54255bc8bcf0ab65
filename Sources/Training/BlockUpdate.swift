import Kernels
import Models
import Optimizers
import Paging
import Storage

/// AdamW for one step: for an expert while its page is resident, for the dense part at the end.
struct BlockUpdate {
  let optimizer: AdamW
  let maxGradNorm: Float?
  let decaysVectors: Bool
  let rate: Double
  let step: Int

  init(_ optimizer: AdamW, _ options: StepOptions, rate: Double, step: Int) {
    self.optimizer = optimizer
    maxGradNorm = options.maxGradNorm
    decaysVectors = options.decaysVectors
    self.rate = rate
    self.step = step
  }

  /// Updates all planes of `page` from `gradient`, by the workers of the node that holds most of
  /// them. An expert counts its own updates for the bias
  /// correction: a step without tokens is no update for it.
  func expert(
    _ page: inout Page, gradient: FloatBuffer, on workers: Workers, _ meter: inout StepMeter
  ) throws {
    try meter.update { meter in
      let factor = try clip(gradient.matrix(rows: 1, columns: gradient.count), &meter)
      let step = optimizer.step(page.updates + 1, learningRate: rate, gradientScale: factor)
      let workers = workers.on(page.node(of: .m))
      var spans = page.spans
      step.update(
        hi: &spans.hi, lo: &spans.lo, m: &spans.m, v: &spans.v, gradient: gradient.span,
        on: workers)
    }
  }

  /// Updates the dense tensors, each clipped by itself, and clears their gradients.
  func dense(_ dense: DenseParameters, on workers: Workers, _ meter: inout StepMeter) throws {
    for slot in dense.layout.slots {
      let factor = try clip(dense.gradient(slot), &meter)
      var optimizer = optimizer
      if !slot.decays && !decaysVectors { optimizer.weightDecay = 0 }
      let step = optimizer.step(step, learningRate: rate, gradientScale: factor)
      dense.update(slot, with: step, on: workers)
    }
    dense.clearGradients()
  }

  /// The factor that brings `gradient` down to the norm allowed.
  /// - Throws: `TrainingError.notFinite` for a gradient with a NaN or infinity in it.
  private func clip(_ gradient: Matrix, _ meter: inout StepMeter) throws -> Float {
    let squares = sumOfSquares(gradient)
    guard squares.isFinite else { throw TrainingError.notFinite(step: step, what: "gradient") }
    meter.gradientSquares += squares
    guard let maxGradNorm, squares > Double(maxGradNorm) * Double(maxGradNorm) else { return 1 }
    return Float(Double(maxGradNorm) / squares.squareRoot())
  }
}

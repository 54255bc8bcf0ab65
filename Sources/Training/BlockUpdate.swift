import Base
import Kernels
import Models
import Optimizers
import Paging
import Storage

/// AdamW for one step: for an expert while its page is resident, for the dense part at the end.
struct BlockUpdate {
  let optimizer: AdamW
  let options: StepOptions
  let rate: Double
  let step: Int
  /// What every gradient is multiplied by when all of them together are clipped.
  var scale: Float = 1

  init(_ optimizer: AdamW, _ options: StepOptions, rate: Double, step: Int) {
    self.optimizer = optimizer
    self.options = options
    self.rate = rate
    self.step = step
  }

  /// Updates `page` from the gradient that `model` holds.
  func expert(
    _ page: inout Page, _ pager: inout Pager, _ model: Transformer, _ meter: inout StepMeter
  ) throws {
    try meter.update { meter in
      let factor = try expertFactor(model, &meter)
      try apply(model.expertGradients, factor: factor, to: &page, &pager, model)
    }
  }

  /// Leaves the gradient that `model` holds, of `tokens` tokens, to `held` for a later update.
  func hold(
    _ block: BlockID, tokens: Int, in held: HeldGradients, _ model: Transformer,
    _ meter: inout StepMeter
  ) throws {
    try meter.update { meter in
      let factor = try expertFactor(model, &meter)
      held.hold(
        block, model.expertGradients, self, factor: factor, tokens: tokens, on: model.workers)
    }
  }

  /// The factor that the expert's gradient which `model` holds is scaled by; its squares are added to those
  /// of the step.
  private func expertFactor(_ model: Transformer, _ meter: inout StepMeter) throws -> Float {
    let gradient = model.expertGradients
    let row = gradient.matrix(rows: 1, columns: gradient.count)
    let squares = sumOfSquares(row, on: model.workers)
    meter.gradientSquares += squares
    return try factor(squares)
  }

  /// Updates all planes of `page`, by the workers of the node that holds most of them, who compare the
  /// checksums of what was read and take those of what will be written on the way; from bytes that were
  /// wrong it is done again. An expert counts its own updates for the bias correction: a step without
  /// tokens is no update for it, unless such experts decay too.
  func apply(
    _ gradient: FloatBuffer, factor: Float, to page: inout Page, _ pager: inout Pager,
    _ model: Transformer
  ) throws {
    let workers = model.workers.on(page.node(of: .m))
    let index = page.updates + 1
    let step = BlockStep(
      matrices: adamW(decays: true)
        .step(index, learningRate: rate, gradientScale: factor),
      vectors: adamW(decays: false)
        .step(index, learningRate: rate, gradientScale: factor),
      matrixParameters: model.description.experts.matrixParameters,
      states: page.geometry.format.states, seed: options.seed, step: step, block: page.block)
    let count = gradient.count
    var isRight = false
    while !isRight {
      let read = page.sums(toCheck: .all)
      var spans = page.spans
      let written = spans.sums
      step.update(
        hi: &spans.hi, lo: &spans.lo, m: &spans.m, v: &spans.v, gradient: gradient.span,
        on: workers, before: { read?.take($0, isLast: $0.upperBound == count) },
        changed: { written?.take($0, isLast: $0.upperBound == count) })
      isRight = try pager.check(&page, read, isChanged: true)
    }
  }

  /// The optimizer of matrices, or of gains and biases.
  private func adamW(decays: Bool) -> AdamW {
    var optimizer = optimizer
    if !decays && !options.decaysVectors { optimizer.weightDecay = 0 }
    return optimizer
  }

  /// A dense tensor's step, clipped by itself.
  /// - Parameter squares: the sum of squares of its gradient.
  func dense(_ slot: TensorSlot, squares: Double) throws -> AdamWStep {
    adamW(decays: slot.decays)
      .step(step, learningRate: rate, gradientScale: try factor(squares))
  }

  /// The factor that a gradient is scaled by, given the sum of its squares.
  /// - Throws: `TrainingError.notFinite` for a gradient with a NaN or infinity in it.
  private func factor(_ squares: Double) throws -> Float {
    guard squares.isFinite else { throw TrainingError.notFinite(step: step, what: "gradient") }
    guard case .block(let norm) = options.clip, squares > Double(norm) * Double(norm) else {
      return scale
    }
    return Float(Double(norm) / squares.squareRoot())
  }
}

import Base
import Kernels
import Models
import Optimizers
import Paging
import Storage

/// The optimizer for one step: for an expert while its page is resident, for the dense part at the end.
struct BlockUpdate {
  let optimizer: Optimizer
  let options: StepOptions
  let rate: Double
  let step: Int
  /// What every gradient is multiplied by when all of them together are clipped.
  var scale: Float = 1

  init(_ optimizer: Optimizer, _ options: StepOptions, rate: Double, step: Int) {
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
    let workers = model.workers.on(page.node(of: .v))
    var isRight = false
    while !isRight {
      let read = page.sums(toCheck: .all)
      switch optimizer {
      case .adamW(let optimizer):
        apply(optimizer, gradient, factor: factor, to: &page, read, model, on: workers)
      case .adafactor(let optimizer):
        apply(optimizer, gradient, factor: factor, to: &page, read, model, on: workers)
      }
      isRight = try pager.check(&page, read, isChanged: true)
    }
  }

  private func apply(
    _ optimizer: AdamW, _ gradient: FloatBuffer, factor: Float, to page: inout Page,
    _ read: PieceSums?, _ model: Transformer, on workers: Workers
  ) {
    func adamW(decays: Bool) -> AdamWStep {
      var own = optimizer
      if !self.decays(decays) { own.weightDecay = 0 }
      return own.step(page.updates + 1, learningRate: rate, gradientScale: factor)
    }
    let step = BlockStep(
      matrices: adamW(decays: true), vectors: adamW(decays: false),
      matrixParameters: model.description.experts.matrixParameters,
      states: page.geometry.format.states, seed: options.seed, step: step, block: page.block)
    let count = gradient.count
    var spans = page.spans
    let written = spans.sums
    step.update(
      hi: &spans.hi, lo: &spans.lo, m: &spans.m, v: &spans.v, gradient: gradient.span,
      on: workers, before: { read?.take($0, isLast: $0.upperBound == count) },
      changed: { written?.take($0, isLast: $0.upperBound == count) })
  }

  /// The factors were checked when they came: what is done again begins from the same.
  private func apply(
    _ optimizer: Adafactor, _ gradient: FloatBuffer, factor: Float, to page: inout Page,
    _ read: PieceSums?, _ model: Transformer, on workers: Workers
  ) {
    let tensors = decaying(model.description.experts.factored)
    let (index, block, count) = (page.updates + 1, page.block, gradient.count)
    var spans = page.spans
    let written = spans.sums
    let step = AdafactorBlockStep(
      optimizer, tensors, hi: &spans.hi, v: &spans.v, gradient: gradient, index: index,
      learningRate: rate, gradientScale: factor, seed: options.seed, step: step, block: block,
      on: workers)
    step.update(
      hi: &spans.hi, lo: &spans.lo, gradient: gradient.span, on: workers,
      before: { read?.take($0, isLast: $0.upperBound == count) },
      changed: { written?.take($0, isLast: $0.upperBound == count) })
  }

  /// Whether weight decay applies to a matrix, which `decays`, or to a gain or bias.
  private func decays(_ decays: Bool) -> Bool { decays || options.decaysVectors }

  private func decaying(_ tensors: [FactoredTensor]) -> [FactoredTensor] {
    tensors.map {
      FactoredTensor(
        offset: $0.offset, rows: $0.rows, columns: $0.columns, decays: decays($0.decays))
    }
  }

  /// A dense tensor's step, clipped by itself. Second moments that are factored are advanced: once a step.
  /// - Parameter squares: the sum of squares of its gradient.
  func dense(
    _ number: Int, squares: Double, of parameters: DenseParameters, on workers: Workers
  ) throws -> DenseStep {
    let slot = parameters.layout.slots[number]
    let factor = try factor(squares)
    switch optimizer {
    case .adamW(var optimizer):
      if !decays(slot.decays) { optimizer.weightDecay = 0 }
      return .adamW(optimizer.step(step, learningRate: rate, gradientScale: factor))
    case .adafactor(let optimizer):
      let factors = parameters.factors(number)
      var moments = Fence(factors.row(0)).mutable(0..<factors.columns)
      let advanced = optimizer.advance(
        decaying(slot.factored), &moments, parameters.gradients, from: slot.offset, index: step,
        learningRate: rate, gradientScale: factor, on: workers
      ) { part in
        let range = slot.offset + part.offset..<slot.offset + part.range.upperBound
        return sumOfSquares(parameters.flat(\.weights, range), on: workers)
      }
      return .adafactor(advanced)
    }
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

/// What updates a dense tensor in one step.
enum DenseStep: Sendable {
  case adamW(AdamWStep)
  case adafactor(FactoredStep)
}

import Base
import Kernels
import Models
import Paging
import Storage
import Tracing

/// What a backward sweep does with each expert's gradient, which lives only while its page is here
/// unless it is held (`HeldGradients`).
enum GradientUse {
  case update(BlockUpdate)
  /// Shows it, and changes nothing.
  case observe((BlockID, FloatBuffer) throws -> Void)
}

extension Transformer {
  /// The blocks of a layer in the order of the backward sweep: the touched ones in reverse; then,
  /// when experts without tokens decay too, those.
  func backwardBlocks(
    of mixture: Int, _ use: GradientUse, _ options: StepOptions
  ) -> [LayerRouting.Block] {
    let routing = routings[mixture]
    guard case .update = use, options.untouched == .decay else { return routing.blocks.reversed() }
    return routing.blocks.reversed()
      + routing.untouchedBlocks(of: description.keptExperts(of: mixture), description.experts)
  }
}

extension TrainingStep {
  /// The visits of the whole backward sweep.
  func backwardVisits(_ use: GradientUse) -> [Visit] {
    let isUpdate = if case .update = use { true } else { false }
    let planes = isUpdate ? .all : options.forwardPlanes
    let layers = model.description.layers
    return dense.backwardVisits(isUpdate: isUpdate) { number in
      guard let mixture = layers[number].mixture else { return [] }
      return model.backwardBlocks(of: mixture, use, options).map {
        let block = BlockID.expert(layer: mixture, $0.expert, slice: $0.slice)
        let isHeld = isUpdate && held?.isChosen(block) == true
        return Visit(block, isHeld ? options.forwardPlanes : planes, isCheckedByHolder: true)
      }
    }
  }

  /// Shows the gradient of every touched expert to `observe`, in the order of the backward sweep;
  /// those of a resident dense part are in `model.dense` afterwards, until they are cleared. Comes after a
  /// forward sweep, and another backward sweep may follow it.
  mutating func gradients(
    step: Int, _ observe: @escaping (BlockID, FloatBuffer) throws -> Void
  ) throws {
    var meter = StepMeter(pager.counters, trace)
    let span = trace.begin(.gradientNorm)
    _ = try backward(.observe(observe), step: step, &meter)
    span.end()
  }

  /// The factor that brings all gradients together down to `norm`, as torch's `clip_grad_norm_` has
  /// it: norm / (their norm + 1e-6), at most 1.
  mutating func gradientScale(norm: Float, step: Int) throws -> Float {
    let workers = model.workers
    var squares = 0.0
    try gradients(step: step) {
      squares += sumOfSquares($1.matrix(rows: 1, columns: $1.count), on: workers)
    }
    dense.addSquares(to: &squares, on: workers)
    guard squares.isFinite else { throw TrainingError.notFinite(step: step, what: "gradient") }
    return Float(min(1, Double(norm) / (squares.squareRoot() + 1e-6)))
  }
}

import Kernels
import Models
import Paging

/// The boundaries of the layers that a sweep is not at, where the model has no memory for them:
/// leaves of the pager's scratch, which it writes behind the forward sweep and reads ahead of the
/// backward sweep.
extension Pager {
  /// After a layer of the forward sweep: keeps what the backward sweep will start it from.
  mutating func keepBoundaries(
    of layer: LayerDescription, _ scratch: ScratchID?, _ model: Transformer
  ) throws {
    guard let scratch, model.mode == .training else { return }
    for (index, x) in model.inputs(of: layer).enumerated() {
      let leaf = model.firstInput(of: layer) + index
      switch model.boundaryRule.precision {
      case .fp32:
        try writeLeaf(leaf, of: scratch, count: x.count) {
          store(x, into: &$0, on: model.workers)
        }
      case .bf16:
        try writeLeaf(leaf, of: scratch, count: x.count) {
          narrow(x, into: &$0, on: model.workers)
        }
      }
    }
  }

  /// Before a layer of the backward sweep: brings them back. The last comes first, as layers do.
  mutating func restoreBoundaries(
    of layer: LayerDescription, _ scratch: ScratchID?, _ model: Transformer
  ) throws {
    guard let scratch else { return }
    precondition(model.mode == .training, "a backward sweep follows a forward sweep of training")
    for (index, x) in model.inputs(of: layer).enumerated().reversed() {
      let leaf = model.firstInput(of: layer) + index
      switch model.boundaryRule.precision {
      case .fp32:
        try readLeaf(leaf, of: scratch, count: x.count) { load($0, into: x, on: model.workers) }
      case .bf16:
        try readLeaf(leaf, of: scratch, count: x.count) {
          widen($0, intoRows: x, on: model.workers)
        }
      }
    }
  }
}

extension Matrix {
  fileprivate var count: Int { rows * columns }
}

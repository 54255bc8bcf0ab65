import Base
import Models
import Paging
import Tracing

/// What a sweep calls the spans of a model.
extension Trace {
  /// A layer, forward or backward.
  func begin(_ layer: LayerDescription) -> TraceSpan {
    begin(.layer, detail: layer.side == .encoder ? 0 : 1, subject: Int64(layer.index))
  }

  /// One expert with all that is done while its page is here, the wait for it included.
  func begin(_ mixture: Int, _ block: LayerRouting.Block) -> TraceSpan {
    let id = BlockID.expert(layer: mixture, block.expert, slice: block.slice)
    return begin(.expert, subject: id.rawValue, amount: block.rows)
  }

  /// The sublayers of `layer` that every token passes.
  func attention(_ layer: LayerDescription, _ body: () throws -> Void) rethrows {
    try span(layer.mixture == nil ? .attentionAndFeedForward : .attention, body)
  }
}

extension TrainingStep {
  var trace: Trace { pager.trace }
}

package import Base
import Layers
package import Models

/// What a step is about to do and did, for tests and benchmarks.
extension TrainingSession {
  /// What the next sweep will probably visit of the layer with experts after layer `number`, or of the
  /// first one.
  package func likelyExperts(after number: Int?, in mode: Transformer.Mode) -> [BlockID] {
    step.likely.blocks(after: number, of: step.model.description, in: mode)
  }
  /// What the gates decided in the last step, by layer with experts.
  package var routings: [LayerRouting] { step.model.routings }
  /// (token, expert) pairs that the experts of all layers computed in the last step.
  package var routedTokens: Int { step.model.routings.reduce(0) { $0 + $1.rows.count } }
  /// What step `step` learns from.
  package func batch(step: Int) -> PackedBatch {
    data.batch(step: step, microBatches: self.step.options.microBatches)
  }
}

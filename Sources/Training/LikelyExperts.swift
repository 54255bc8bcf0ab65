import Base
import Models
import Paging
import Storage

/// The experts that a sweep will probably visit, guessed before its gates have decided: those that had
/// some rows in the last sweep of the same kind, for they have at least one again. Evaluation has other
/// text and another capacity: what it visited says nothing of the next training step.
struct LikelyExperts: Sendable {
  /// By chance alone an expert with so many rows has none in the next batch in one case of fifty.
  private static let leastRows = 4

  /// Blocks by number of the layer with experts; of a kind that had a sweep.
  private var last: [Transformer.Mode: [Int: [BlockID]]] = [:]

  /// Learns from what the gate of a layer with experts has decided.
  mutating func note(
    _ routing: LayerRouting, of mixture: Int, in mode: Transformer.Mode
  ) {
    last[mode, default: [:]][mixture] = routing.blocks.filter { $0.rows >= Self.leastRows }.map {
      .expert(layer: mixture, $0.expert, slice: $0.slice)
    }
  }

  /// Blocks of the next layer with experts after layer `number`, or of the first one; none after the
  /// last. Before the first sweep of a kind those of training, and before that all.
  func blocks(
    after number: Int?, of model: ModelDescription, in mode: Transformer.Mode
  ) -> [BlockID] {
    let later = model.layers.dropFirst(number.map { $0 + 1 } ?? 0)
    guard let mixture = later.lazy.compactMap(\.mixture).first else { return [] }
    if let known = last[mode]?[mixture] ?? last[.training]?[mixture] { return known }
    return (0..<model.experts.count).flatMap { expert in
      (0..<model.experts.slices).map { .expert(layer: mixture, expert, slice: $0) }
    }
  }
}

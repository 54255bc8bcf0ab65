import Base
import Models
import Paging
import Storage

/// The experts that a sweep will probably visit, guessed before its gates have decided: those that had
/// some rows in the last sweep of the same kind, for they have at least one again. Evaluation has other
/// text and another capacity: what it visited says nothing of the next training step. Where gates decide by
/// task nothing need be guessed: the tasks of a batch are known, and with the gate's weights their experts.
struct LikelyExperts: Sendable {
  /// By chance alone an expert with so many rows has none in the next batch in one case of fifty.
  private static let leastRows = 4

  /// Blocks by number of the layer with experts; of a kind that had a sweep.
  private var last: [Transformer.Mode: [Int: [BlockID]]] = [:]
  /// Of the sweep at hand, what gates by task choose, by number of the layer with experts.
  private(set) var certain: [Int: [BlockID]] = [:]

  /// A sweep begins: nothing is certain of its batch.
  mutating func begin() { certain = [:] }

  /// Learns what the gate of `layer` will choose, if it decides by task and its weights are in memory.
  mutating func foresee(_ layer: LayerDescription, in model: Transformer) {
    guard let mixture = layer.mixture, let experts = model.expertsOfTasks(layer) else { return }
    certain[mixture] = model.description.blocks(of: mixture, experts)
  }

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
    guard let layer = later.first(where: { $0.mixture != nil }), let mixture = layer.mixture else {
      return []
    }
    if let known = certain[mixture] { return known }
    // Other tasks, other experts.
    if layer.gateInput?.isByTask == true { return [] }
    if let known = last[mode]?[mixture] ?? last[.training]?[mixture] { return known }
    return model.blocks(of: mixture, model.keptExperts(of: mixture))
  }
}

extension ModelDescription {
  /// Those of some experts of a layer, in the order of the forward sweep.
  fileprivate func blocks(of mixture: Int, _ experts: [Int]) -> [BlockID] {
    experts.flatMap { expert in
      (0..<self.experts.slices).map { .expert(layer: mixture, expert, slice: $0) }
    }
  }
}

package import Kernels

/// What of a training step's activations is kept from the forward to the backward sweep, and how.
package struct BoundaryRule: Sendable, Equatable {
  package enum Precision: Sendable {
    case fp32
    /// Two bytes an element. A boundary is rounded when it enters its sublayer, before anything
    /// reads it: the residual stream between two sublayers is the rounded one, as in bf16 training
    /// elsewhere, so that the recomputation starts from the very numbers of the forward sweep and
    /// finds the same activations and routes. Gradients pass the rounding as they are.
    case bf16
  }
  package let precision: Precision
  /// Whether there is memory for the boundaries of one layer at a time. Whoever runs the sweeps then
  /// keeps `inputs(of:)` after each layer of the forward sweep, and brings them back before the same
  /// layer of every backward sweep.
  package let isWindow: Bool
  /// The layers, by number, that keep more than their boundaries (`LayerTape`), so that the backward
  /// sweep need not compute it again.
  package var tapes: Range<Int>

  package init(
    _ precision: Precision = .fp32, isWindow: Bool = false, tapes: Range<Int> = 0..<0
  ) {
    self.precision = precision
    self.isWindow = isWindow
    self.tapes = tapes
  }
}

/// Which matrix holds which boundary of the two sides.
struct BoundaryChains {
  let encoder: [Int]
  let decoder: [Int]
  let matrices: Int

  init(_ model: ModelDescription, _ rule: BoundaryRule, training: Bool) {
    let counts = (model.boundaries(.encoder), model.boundaries(.decoder))
    if training && rule.isWindow {
      // A layer's inputs and its output take turns, in the matrices of both sides. What leaves a
      // side is read once more when the backward sweep begins there, and has its own.
      let window = model.sides.map { model.sublayers($0) + 1 }.max() ?? 0
      encoder = (0..<counts.0).map { $0 == counts.0 - 1 ? window + 1 : $0 % (window - 1) }
      // Its embedding comes with the encoder's, which leaves the last matrix of the window alone.
      decoder = (0..<counts.1).map { $0 == counts.1 - 1 ? window : (window - 1 + $0) % window }
      matrices = window + model.sides.count
    } else {
      // Without a backward sweep two boundaries a side take turns.
      let own = (training ? counts.0 : min(2, counts.0), training ? counts.1 : min(2, counts.1))
      encoder = (0..<counts.0).map { $0 % own.0 }
      decoder = (0..<counts.1).map { own.0 + $0 % own.1 }
      matrices = own.0 + own.1
    }
  }
}

extension ModelDescription {
  /// Boundaries of one side: one before each sublayer, and the last.
  func boundaries(_ side: Side) -> Int {
    stack(side).map { sublayers(side) * $0.layers.count + 1 } ?? 0
  }

  /// Of each layer of a side: self-attention, cross-attention where there is an encoder, FFN.
  func sublayers(_ side: Side) -> Int { side == .decoder && encoder != nil ? 3 : 2 }

  /// The boundaries that enter a sublayer, of all layers of both sides.
  package var sublayerInputs: Int { sides.reduce(0) { $0 + boundaries($1) - 1 } }
  /// The most of one layer.
  package var sublayerInputsOfLayer: Int { sides.map { sublayers($0) }.max() ?? 0 }
}

extension Transformer {
  /// The boundaries that enter the sublayers of `layer`, in this order, the rows of the batch.
  package func inputs(of layer: LayerDescription) -> [Matrix] {
    (firstBoundary(layer)..<last(layer)).map { boundary(layer.side, $0) }
  }

  /// The number of the first of them among all, in the order of the forward sweep.
  package func firstInput(of layer: LayerDescription) -> Int {
    let before = layer.side == .decoder && description.encoder != nil ? Side.encoder : nil
    return (before.map { description.boundaries($0) - 1 } ?? 0) + firstBoundary(layer)
  }

  /// Makes of what enters a sublayer, or the last norm of a side, what is kept of it.
  func roundBoundary(_ x: Matrix) {
    guard boundaryRule.precision == .bf16, mode == .training else { return }
    roundToBfloat16(x, on: workers)
  }
}

package import Kernels
import Layers

/// The layers of experts. All micro-batches are routed first; then each touched expert sees the
/// rows of all of them at once.
///
///     normed = norm(x)        gate(normed) -> rows of each expert        y = x + p * FFN(normed)
extension ZcodeModel {
  /// The weights of the block at hand, to be filled before `expertForward` and `expertBackward`:
  /// W1 [sliceHidden, width], then W2 transposed, of the same shape.
  package var expertWeights: FloatBuffer { activations.expert.weights }
  /// The gradient of the block at hand, as `expertBackward` leaves it.
  package var expertGradients: FloatBuffer { activations.expert.gradients }

  // MARK: Forward

  /// Norm and gate for all micro-batches of `layer`; the residual passes.
  package func routeForward(_ layer: ZcodeLayer) {
    let (mixture, gateSlot) = mixtureSlots(layer)
    let (x, y) = (boundary(layer.side, last(layer) - 1), boundary(layer.side, last(layer)))
    let normed = rows(activations.normed, layer.side)
    norm(layer.feedForwardNorm, x, into: normed)
    y.copy(from: x)
    let packed = batch.side(layer.side)
    let probabilities = rows(activations.probabilities[mixture], layer.side)
    let gates = packed.microBatches.enumerated().map { index, rows in
      gate.forward(
        normed.rows(rows), weight: weights(gateSlot), key: key(mixture, index),
        isTraining: mode == .training, probabilities: probabilities.rows(rows), on: workers)
    }
    routings[mixture] = LayerRouting(gates, experts: shape.experts, slices: shape.slices)
  }

  /// Adds what the block makes of its rows to the layer's output.
  package func expertForward(_ layer: ZcodeLayer, _ block: LayerRouting.Block) {
    let (mixture, _) = mixtureSlots(layer)
    let (indices, probabilities) = routed(mixture, block.expert)
    let scratch = activations.expert
    let input = scratch.input.rows(0..<indices.count)
    let output = scratch.output.rows(0..<indices.count)
    gatherRows(rows(activations.normed, layer.side), indices, into: input, on: workers)
    FeedForward(w1: firstWeights, w2: secondWeights).forward(
      input, hidden: scratch.hidden.rows(0..<indices.count), into: output, accumulate: false,
      on: workers)
    scaleRows(output, by: probabilities, on: workers)
    scatterAddRows(output, indices, to: boundary(layer.side, last(layer)), on: workers)
  }

  // MARK: Backward

  /// The layer's normalised input once more; its gradient starts at zero.
  package func routeRecompute(_ layer: ZcodeLayer) {
    norm(
      layer.feedForwardNorm, boundary(layer.side, last(layer) - 1),
      into: rows(activations.normed, layer.side))
    rows(activations.dNormed, layer.side).fill(0)
  }

  /// The gradient of the block's weights, over all its rows, and its share of the input's gradient.
  package func expertBackward(_ layer: ZcodeLayer, _ block: LayerRouting.Block) {
    let (mixture, _) = mixtureSlots(layer)
    let (indices, probabilities) = routed(mixture, block.expert)
    let scratch = activations.expert
    let count = indices.count
    let (input, dInput) = (scratch.input.rows(0..<count), scratch.dInput.rows(0..<count))
    let dOutput = scratch.output.rows(0..<count)
    let (p, dp) = (scratch.combine.rows(0..<count), scratch.dCombine.rows(0..<count))
    for (row, probability) in probabilities.enumerated() { p[row, 0] = probability }
    gatherRows(rows(activations.normed, layer.side), indices, into: input, on: workers)
    gatherRows(rows(activations.dx, layer.side), indices, into: dOutput, on: workers)
    FeedForward(w1: firstWeights, w2: secondWeights).backward(
      input, dy: dOutput, combine: (p, dp),
      hidden: scratch.hidden.rows(0..<count), dhidden: scratch.dHidden.rows(0..<count),
      into: FeedForward.Gradients(
        dh: dInput, dw1: firstGradients, dw2: secondGradients, accumulateInput: false,
        accumulateWeights: false),
      on: workers)
    scatterAddRows(dInput, indices, to: rows(activations.dNormed, layer.side), on: workers)
    for (row, entry) in routings[mixture].rows.entries(of: block.expert).enumerated() {
      routings[mixture].dProbability[entry] += dp[row, 0]
    }
  }

  /// After the layer's last expert: through the gate and the norm.
  package func routeBackward(_ layer: ZcodeLayer) {
    let (mixture, gateSlot) = mixtureSlots(layer)
    let (normed, dNormed) = (
      rows(activations.normed, layer.side), rows(activations.dNormed, layer.side)
    )
    let packed = batch.side(layer.side)
    let routing = routings[mixture]
    for (index, rows) in packed.microBatches.enumerated() {
      gate.backward(
        normed.rows(rows), weight: weights(gateSlot), routing: routing.gates[index],
        key: key(mixture, index), isTraining: mode == .training,
        dprobability: routing.dProbability(microBatch: index),
        auxiliaryScale: options.auxLossCoefficient / Float(packed.microBatches.count),
        dweight: gradient(gateSlot), dx: dNormed.rows(rows), on: workers)
    }
    normBackward(
      layer.feedForwardNorm, boundary(layer.side, last(layer) - 1), dNormed,
      into: rows(activations.dx, layer.side))
  }

  // MARK: Sums for the report

  /// The load-balancing loss summed over layers, averaged over micro-batches.
  package var auxLoss: Double {
    routings.reduce(0) { sum, routing in
      sum + routing.gates.reduce(0) { $0 + $1.auxiliaryLoss } / Double(max(1, routing.gates.count))
    }
  }

  /// Tokens that found their expert full, of all routed tokens.
  package var droppedShare: Double {
    let routed = routings.reduce(0) { $0 + $1.routedChoices }
    let kept = routings.reduce(0) { $0 + $1.rows.count }
    return routed > 0 ? 1 - Double(kept) / Double(routed) : 0
  }

  // MARK: Views

  private func mixtureSlots(_ layer: ZcodeLayer) -> (number: Int, gate: TensorSlot) {
    guard case .mixture(let number, let gate) = layer.feedForward else {
      preconditionFailure("a layer with experts")
    }
    return (number, gate)
  }

  private func key(_ mixture: Int, _ microBatch: Int) -> GateKey {
    GateKey(step: step, layer: mixture, microBatch: microBatch)
  }

  private func routed(_ mixture: Int, _ expert: Int) -> (indices: [Int32], p: [Float]) {
    let rows = routings[mixture].rows
    let entries = rows.entries(of: expert)
    return (Array(rows.rows[entries]), Array(rows.probabilities[entries]))
  }

  private func half(_ buffer: FloatBuffer, _ index: Int) -> Matrix {
    let count = shape.sliceHidden * shape.width
    return buffer.matrix(
      rows: shape.sliceHidden, columns: shape.width, offset: index * count)
  }
  private var firstWeights: Matrix { half(expertWeights, 0) }
  private var secondWeights: Matrix { half(expertWeights, 1) }
  private var firstGradients: Matrix { half(expertGradients, 0) }
  private var secondGradients: Matrix { half(expertGradients, 1) }
}

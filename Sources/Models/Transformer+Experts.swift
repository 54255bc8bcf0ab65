package import Kernels
import Layers

/// The layers of experts. All micro-batches are routed first; then each touched expert sees the
/// rows of all of them at once.
///
///     normed = norm(x)        gate(normed) -> rows of each expert        y = x + sum of w * FFN(normed)
extension Transformer {
  /// The weights of the block at hand, to be filled before `expertForward` and `expertBackward`.
  package var expertWeights: ExpertWeights { activations.expert.weights }
  /// The gradient of the block at hand, as `expertBackward` leaves it and `ExpertShape` lays it out.
  package var expertGradients: FloatBuffer { activations.expert.gradients }

  // MARK: Forward

  /// Norm and gate for all micro-batches of `layer`; the residual passes.
  package func routeForward(_ layer: LayerDescription) {
    let mixture = mixture(layer)
    let (x, y) = (boundary(layer.side, last(layer) - 1), boundary(layer.side, last(layer)))
    let normed = rows(activations.normed, layer.side)
    roundBoundary(x)
    norm(layer.feedForwardNorm, x, into: normed)
    y.copy(from: x, on: workers)
    let probabilities = rows(activations.probabilities[mixture.number], layer.side)
    let routings = batch.side(layer.side).microBatches.enumerated().map { index, rows in
      let place = place(layer, mixture, index)
      let routing = gates.forward(
        normed.rows(rows), parameters(mixture), place, probabilities: probabilities.rows(rows),
        on: workers)
      if mode != .generation { routerLosses.add(routing, mixture.number, place) }
      return routing
    }
    self.routings[mixture.number] = LayerRouting(routings, experts: description.experts)
  }

  /// Adds what the block makes of its rows to the layer's output.
  package func expertForward(_ layer: LayerDescription, _ block: LayerRouting.Block) {
    let (indices, combine) = routed(mixture(layer).number, block.expert)
    let scratch = activations.expert
    let input = scratch.input.rows(0..<indices.count)
    let output = scratch.output.rows(0..<indices.count)
    gatherRows(rows(activations.normed, layer.side), indices, into: input, on: workers)
    expertWeights.layer(slice: block.slice).forward(
      input, hidden: scratch.hidden.rows(0..<indices.count), up: up(indices.count),
      keeping: tape(layer, block), into: output, accumulate: false, on: workers)
    scaleRows(output, by: combine, on: workers)
    scatterAddRows(output, indices, to: boundary(layer.side, last(layer)), on: workers)
  }

  /// The experts that a gate by task will choose for the batch at hand, ascending: as good as chosen
  /// once its weights are in memory. nil where tokens or sentences decide.
  package func expertsOfTasks(_ layer: LayerDescription) -> [Int]? {
    guard let input = layer.gateInput, input.isByTask else { return nil }
    let tasks = Set(batch.side(layer.side).tasks).sorted()
    let chosen = gates.experts(of: tasks, parameters(mixture(layer)), layer.side, mode)
    return Set(chosen).sorted()
  }

  // MARK: Backward

  /// The layer's normalised input once more; its gradient starts at zero.
  package func routeRecompute(_ layer: LayerDescription) {
    routings[mixture(layer).number].clearGradients()
    norm(
      layer.feedForwardNorm, boundary(layer.side, last(layer) - 1),
      into: rows(activations.normed, layer.side))
    rows(activations.dNormed, layer.side).fill(0, on: workers)
  }

  /// The gradient of the block's weights, over all its rows, and its share of the input's gradient;
  /// zero without rows.
  package func expertBackward(_ layer: LayerDescription, _ block: LayerRouting.Block) {
    guard block.rows > 0 else {
      return expertGradients.matrix(rows: 1, columns: expertGradients.count).fill(0)
    }
    let number = mixture(layer).number
    let (indices, combine) = routed(number, block.expert)
    let scratch = activations.expert
    let count = indices.count
    let (input, dInput) = (scratch.input.rows(0..<count), scratch.dInput.rows(0..<count))
    let dOutput = scratch.output.rows(0..<count)
    let (p, dp) = (scratch.combine.rows(0..<count), scratch.dCombine.rows(0..<count))
    for (row, weight) in combine.enumerated() { p[row, 0] = weight }
    gatherRows(rows(activations.normed, layer.side), indices, into: input, on: workers)
    gatherRows(rows(activations.dx, layer.side), indices, into: dOutput, on: workers)
    expertWeights.layer(slice: block.slice).backward(
      input, dy: dOutput, combine: (p, dp), hidden: scratch.hidden.rows(0..<count), up: up(count),
      dhidden: scratch.dHidden.rows(0..<count), from: tape(layer, block),
      into: gradients(of: block, dInput), on: workers)
    scatterAddRows(dInput, indices, to: rows(activations.dNormed, layer.side), on: workers)
    for (row, entry) in routings[number].rows.entries(of: block.expert).enumerated() {
      routings[number].dProbability[entry] += dp[row, 0]
    }
  }

  private func gradients(
    of block: LayerRouting.Block, _ dInput: Matrix
  ) -> FeedForward.Gradients {
    let (experts, buffer) = (description.experts, expertGradients)
    // The second bias belongs to the first slice; elsewhere its place has no gradient.
    if block.slice > 0 { experts.secondBias(of: buffer)?.fill(0) }
    return FeedForward.Gradients(
      dh: dInput, dw1: experts.matrix(0, of: buffer), dw2: experts.matrix(1, of: buffer),
      dw3: experts.isGated ? experts.matrix(2, of: buffer) : nil,
      db1: experts.firstBias(of: buffer),
      db2: block.slice == 0 ? experts.secondBias(of: buffer) : nil, accumulateInput: false,
      accumulateWeights: false)
  }

  /// After the layer's last expert: through the gate and the norm.
  package func routeBackward(_ layer: LayerDescription) {
    let mixture = mixture(layer)
    let (normed, dNormed) = (
      rows(activations.normed, layer.side), rows(activations.dNormed, layer.side)
    )
    let packed = batch.side(layer.side)
    let routing = routings[mixture.number]
    for (index, rows) in packed.microBatches.enumerated() {
      let place = place(layer, mixture, index)
      gates.backward(
        normed.rows(rows), parameters(mixture), routing.gates[index], place,
        dcombine: routing.dProbability(microBatch: index),
        losses: routerLosses.gradient(mixture.number, place),
        microBatches: packed.microBatches.count,
        into: gradients(mixture, dNormed.rows(rows)), on: workers)
    }
    normBackward(
      layer.feedForwardNorm, boundary(layer.side, last(layer) - 1), dNormed,
      into: rows(activations.dx, layer.side))
  }

  // MARK: Sums for the report

  /// The load-balancing loss summed over layers, or over pools of layers, averaged over
  /// micro-batches.
  package var auxLoss: Double {
    if case .topK = description.routing { return routerLosses.total.balance }
    return routings.reduce(0) { sum, routing in
      sum + routing.gates.reduce(0) { $0 + $1.auxiliaryLoss } / Double(max(1, routing.gates.count))
    }
  }

  /// What the gates add to the loss.
  package var routerLoss: Double {
    switch description.routing {
    case .topK: routerLosses.total.loss
    case .topOne(let rule): Double(rule.auxLossCoefficient) * auxLoss
    }
  }

  /// Choices that found their expert full, of all of them.
  package var droppedShare: Double {
    let routed = routings.reduce(0) { $0 + $1.routedChoices }
    let kept = routings.reduce(0) { $0 + $1.rows.count }
    return routed > 0 ? 1 - Double(kept) / Double(routed) : 0
  }

  // MARK: Views

  private func mixture(_ layer: LayerDescription) -> FeedForwardDescription.Mixture {
    guard case .mixture(let mixture) = layer.feedForward else {
      preconditionFailure("a layer with experts")
    }
    return mixture
  }

  private func place(
    _ layer: LayerDescription, _ mixture: FeedForwardDescription.Mixture, _ microBatch: Int
  ) -> Gates.Place {
    let packed = batch.side(layer.side)
    return Gates.Place(
      key: GateKey(step: step, layer: mixture.number, microBatch: microBatch), mode: mode,
      sequences: packed.sequences(of: microBatch), keys: packed.keys(of: microBatch),
      isToken: packed.isToken(of: microBatch), tasks: packed.tasks(of: microBatch),
      side: layer.side)
  }

  private func parameters(_ mixture: FeedForwardDescription.Mixture) -> Gates.Parameters {
    Gates.Parameters(
      input: mixture.input, weight: weights(mixture.gate.weight),
      bias: mixture.gate.bias.map(weights), tasks: mixture.input.taskTable.map(weights),
      kept: mixture.kept)
  }

  private func gradients(
    _ mixture: FeedForwardDescription.Mixture, _ dx: Matrix
  ) -> Gates.Gradients {
    Gates.Gradients(
      gate: GateGradients(
        weight: gradient(mixture.gate.weight), bias: mixture.gate.bias.map(gradient), x: dx),
      tasks: mixture.input.taskTable.map(gradient))
  }

  private func routed(_ mixture: Int, _ expert: Int) -> (indices: [Int32], weights: [Float]) {
    let rows = routings[mixture].rows
    let entries = rows.entries(of: expert)
    let scale = expertScale
    let weights = rows.probabilities[entries]
    return (Array(rows.rows[entries]), scale == 1 ? Array(weights) : weights.map { $0 * scale })
  }

  /// What outputs of experts are multiplied by.
  private var expertScale: Float {
    guard mode != .training, case .topK(let rule) = description.routing else { return 1 }
    return rule.evaluationScale
  }

  /// Of the hidden units of a block, where they are kept.
  private func tape(
    _ layer: LayerDescription, _ block: LayerRouting.Block
  ) -> FeedForward.Tape? {
    let entries = routings[mixture(layer).number].rows.entries(of: block.expert)
    let columns = description.experts.hiddenUnits(of: block.slice)
    return tape(layer)?.feedForward?.rows(entries).columns(columns)
  }

  private func up(_ count: Int) -> Matrix? {
    description.experts.isGated ? activations.expert.up.rows(0..<count) : nil
  }
}

package import Kernels
package import Layers

/// A mixture-of-experts transformer, with an encoder or a decoder alone: the arithmetic of its
/// layers, forward and backward, over all micro-batches of a global batch. It knows no files and no
/// pages: whoever runs the sweeps brings the weights of one expert at a time (`expertWeights`) and
/// takes away its gradient (`expertGradients`).
///
/// Rows are tokens, packed. Every sublayer is residual, y = x + f(norm(x)); the backward methods
/// work in place on the gradient of the side they belong to.
package final class Transformer {
  package enum Mode: Int, Sendable, CaseIterable {
    case training
    /// The capacity of evaluation, no jitter.
    case evaluation
    /// The decoder drops no token; what the encoder drops is the rule's.
    case generation
  }

  package let description: ModelDescription
  package let dense: DenseParameters
  package let activations: Activations
  package let workers: Workers
  package let boundaryRule: BoundaryRule
  let attentions: [AttentionShape: Attention]
  let rotaries: [RotaryKey: RotaryEmbedding]
  let positionBiases: [Side: RelativePositionBias]
  let embedding: Embedding
  let head: CrossEntropy
  let gates: Gates

  package private(set) var batch = PackedBatch()
  package private(set) var mode = Mode.training
  /// Keys the random choices of the gates.
  package private(set) var step = 0
  /// What the gates of the layers with experts decided in the last forward sweep.
  package internal(set) var routings: [LayerRouting]
  /// The tape that somebody else keeps.
  var loan: TapeLoan?
  /// The losses of the gates so far, by pool and micro-batch.
  var routerLosses: RouterLosses

  /// - Parameters:
  ///   - smoothing: of the labels, in 0..<1.
  ///   - training: whether there is memory for a backward sweep.
  ///   - boundaries: how that finds the boundaries of the forward sweep.
  package init(
    _ description: ModelDescription, dense: DenseParameters, limits: BatchLimits,
    smoothing: Float, training: Bool, boundaries: BoundaryRule = BoundaryRule(), workers: Workers
  ) {
    self.description = description
    self.dense = dense
    self.workers = workers
    boundaryRule = boundaries
    activations = Activations(description, limits, boundaries, training: training)
    attentions = Self.attentions(description, limits, workers)
    rotaries = Self.rotaries(description, limits)
    positionBiases = Self.positionBiases(description, limits)
    embedding = Self.embedding(description, limits)
    head = CrossEntropy(
      vocabulary: description.vocabulary, smoothing: smoothing,
      outputScale: description.head.scale)
    gates = Gates(description, limits)
    let empty = LayerRouting([], experts: description.experts)
    routings = Array(repeating: empty, count: description.mixtures)
    routerLosses = RouterLosses(description, microBatches: 0)
  }

  /// Bytes that `init` allocates, dense parameters excepted, for the memory ledger.
  package static func byteCount(
    _ description: ModelDescription, _ limits: BatchLimits, training: Bool,
    boundaries: BoundaryRule = BoundaryRule(), workers: Int
  ) -> Int {
    let positions = limits.sequenceRows * description.width
    // Of norms backward; those without a bias take half of it.
    let sums =
      training ? LayerNorm.scratchFloatCount(rows: limits.rows, columns: description.width) : 0
    let logits = CrossEntropy.rowsPerTile * (description.vocabulary + 2)
    let shapes = Set(description.attentions.map(\.shape)).count
    return Activations.byteCount(description, limits, boundaries, training: training)
      + shapes * Attention.scratchByteCount(keysMax: limits.sequenceRows, workers: workers)
      + positionByteCount(description, limits)
      + (positions + logits + sums + Gates.floatCount(description, limits))
      * MemoryLayout<Float>.stride
  }

  private static func attentions(
    _ description: ModelDescription, _ limits: BatchLimits, _ workers: Workers
  ) -> [AttentionShape: Attention] {
    var made: [AttentionShape: Attention] = [:]
    for shape in description.attentions.map(\.shape) where made[shape] == nil {
      made[shape] = Attention(
        heads: shape.heads, keyValueHeads: shape.keyHeads, headWidth: shape.headWidth,
        scale: shape.scale, window: shape.window, keysMax: limits.sequenceRows, workers: workers)
    }
    return made
  }

  /// The layers of one side in forward order; none of an encoder that is not there.
  package func layers(_ side: Side) -> [LayerDescription] {
    description.stack(side)?.layers ?? []
  }

  private static func embedding(
    _ description: ModelDescription, _ limits: BatchLimits
  ) -> Embedding {
    let (width, slots) = (description.width, description.embedding)
    guard let first = slots.firstPosition else {
      return Embedding(width: width, scale: slots.scale)
    }
    return Embedding(
      width: width, scale: slots.scale, positionsMax: limits.sequenceRows, firstPosition: first,
      padding: slots.padding)
  }

  // MARK: The ends of the forward sweep

  /// Starts a batch: writes the embedded tokens of all sides into the first boundaries.
  /// - Parameter step: keys the random choices of the gates.
  package func embed(_ batch: PackedBatch, step: Int, mode: Mode) {
    precondition(batch.source.rows <= activations.limits.rows, "the source fits the model")
    precondition(batch.target.rows <= activations.limits.rows, "the target fits the model")
    (self.batch, self.step, self.mode) = (batch, step, mode)
    routerLosses = RouterLosses(description, microBatches: batch.target.microBatches.count)
    for (side, bias) in positionBiases {
      guard let table = description.stack(side)?.positionBias?.table else { continue }
      bias.expand(weights(table))
    }
    for side in description.sides {
      let packed = batch.side(side)
      embedding.forward(
        packed.tokens, table: weights(description.embedding.table), sequences: packed.sequences,
        into: boundary(side, 0), on: workers)
    }
  }

  /// Between the stacks: the normalised output of the encoder becomes the decoder's memory.
  package func encoderToDecoder() {
    guard let encoder = description.encoder else { return }
    roundBoundary(top(.encoder))
    norm(encoder.finalNorm, top(.encoder), into: memory)
  }

  /// The loss and its gradient, times 1 / counted labels, at the top of the decoder.
  package func lossForwardBackward() -> CrossEntropy.Total {
    let (z, dz) = (rows(activations.normed, .decoder), rows(activations.dNormed, .decoder))
    finalNorm(into: z)
    let table = description.head.weight
    let total = head.forwardBackward(
      z, targets: batch.labels, embedding: weights(table), scale: 1 / Float(batch.labelCount),
      dx: dz, dembedding: gradient(table), on: workers)
    let dx = rows(activations.dx, .decoder)
    dx.fill(0, on: workers)
    if description.encoder != nil { rows(activations.dMemory, .encoder).fill(0, on: workers) }
    normBackward(description.decoder.finalNorm, top(.decoder), dz, into: dx)
    return total
  }

  /// What the vocabulary's logits are computed from.
  private func finalNorm(into z: Matrix) {
    let x = top(.decoder)
    roundBoundary(x)
    norm(description.decoder.finalNorm, x, into: z)
  }

  /// The negative log likelihood of every target row, in nats; 0 of rows that are not counted.
  package func losses() -> [Float] { rowLosses().map(\.negativeLogLikelihood) }

  /// The loss that training minimises, by target row: with label smoothing.
  package func smoothedLosses() -> [Float] { rowLosses().map(\.smoothed) }

  private func rowLosses() -> [(smoothed: Float, negativeLogLikelihood: Float)] {
    let z = rows(activations.normed, .decoder)
    finalNorm(into: z)
    var losses: [(smoothed: Float, negativeLogLikelihood: Float)] = []
    _ = head.forward(
      z, targets: batch.labels, embedding: weights(description.head.weight), on: workers
    ) { _, smoothed, negativeLogLikelihood in losses.append((smoothed, negativeLogLikelihood)) }
    return losses
  }

  /// The logits of every target row, [rows, vocabulary].
  package func logits() -> Matrix {
    let z = rows(activations.normed, .decoder)
    finalNorm(into: z)
    let logits = Matrix(rows: z.rows, columns: description.vocabulary)
    matmul(
      z, weights(description.head.weight), transposeB: true, into: logits,
      scale: description.head.scale, on: workers)
    return logits
  }

  /// Replaces the target side by one micro-batch: the next tokens of sequences being generated.
  /// - Parameter tasks: of each sequence; empty where nobody named them.
  func setTarget(_ tokens: [Int32], sequences: [Range<Int>], tasks: [SequenceTask]) {
    var side = PackedSide()
    side.append(tokens: tokens, sequences: sequences, tasks: tasks)
    batch.target = side
  }

  // MARK: The ends of the backward sweep

  /// After the decoder's layers: its embedding, then over to the encoder's gradient.
  package func decoderToEncoder() {
    embedBackward(.decoder)
    guard let encoder = description.encoder else { return }
    let dx = rows(activations.dx, .encoder)
    dx.fill(0, on: workers)
    normBackward(
      encoder.finalNorm, top(.encoder), rows(activations.dMemory, .encoder), into: dx)
  }

  package func embedBackward(_ side: Side) {
    guard description.stack(side) != nil else { return }
    embedding.backward(
      batch.side(side).tokens, dx: rows(activations.dx, side),
      dtable: gradient(description.embedding.table), untrained: description.embedding.untrained,
      on: workers)
  }

  // MARK: Views

  func weights(_ slot: TensorSlot) -> Matrix { dense.weights(slot) }
  func gradient(_ slot: TensorSlot) -> Matrix { dense.gradient(slot) }

  /// The rows of `matrix` that the current batch uses on `side`.
  func rows(_ matrix: Matrix, _ side: Side) -> Matrix { matrix.rows(0..<batch.side(side).rows) }
  func boundary(_ side: Side, _ index: Int) -> Matrix {
    rows(activations.boundaries(side)[index], side)
  }
  /// What leaves the last layer of a side.
  func top(_ side: Side) -> Matrix { boundary(side, description.boundaries(side) - 1) }
  var memory: Matrix { rows(activations.memory, .encoder) }

  /// x -> y, which may be the same matrix where the norm is of groups.
  func norm(_ norm: NormDescription, _ x: Matrix, into y: Matrix) {
    switch norm.kind {
    case .layer(let bias):
      LayerNorm(epsilon: norm.epsilon).forward(
        x, gain: weights(norm.gain), bias: weights(bias), into: y, on: workers)
    case .rms:
      RMSNorm(epsilon: norm.epsilon, groups: norm.groups).forward(
        x, gain: weights(norm.gain), into: y, on: workers)
    }
  }

  /// dx += the gradient of the norm's input, or overwritten.
  func normBackward(
    _ norm: NormDescription, _ x: Matrix, _ dy: Matrix, into dx: Matrix, accumulate: Bool = true
  ) {
    switch norm.kind {
    case .layer(let bias):
      LayerNorm(epsilon: norm.epsilon).backward(
        x, gain: weights(norm.gain), dy: dy, dx: dx, accumulate: accumulate,
        dgain: gradient(norm.gain), dbias: gradient(bias), on: workers)
    case .rms:
      RMSNorm(epsilon: norm.epsilon, groups: norm.groups).backward(
        x, gain: weights(norm.gain), dy: dy, dx: dx, accumulate: accumulate,
        dgain: gradient(norm.gain), on: workers)
    }
  }

  /// y = x W^T + b.
  func project(_ x: Matrix, _ projection: Projection, into y: Matrix) {
    matmul(x, weights(projection.weight), transposeB: true, into: y, on: workers)
    if let bias = projection.bias { addRow(weights(bias), to: y, on: workers) }
  }

  /// The gradients of a projection's weights and bias, added to what is there.
  func projectionBackward(_ projection: Projection, _ x: Matrix, _ dy: Matrix) {
    matmul(
      dy, x, transposeA: true, into: gradient(projection.weight), accumulate: true, on: workers)
    if let bias = projection.bias {
      sumColumns(dy, into: gradient(bias), accumulate: true, on: workers)
    }
  }
}

extension ModelDescription {
  var sides: [Side] { encoder == nil ? [.decoder] : [.encoder, .decoder] }
  var attentions: [AttentionDescription] {
    layers.flatMap { [$0.selfAttention, $0.crossAttention].compactMap { $0 } }
  }
}

package import Kernels
package import Layers

/// An encoder-decoder mixture-of-experts transformer: the arithmetic of its layers, forward and
/// backward, over all micro-batches of a global batch. It knows no files and no pages: whoever runs
/// the sweeps brings the weights of one expert at a time (`expertWeights`) and takes away its
/// gradient (`expertGradients`).
///
/// Rows are tokens, packed without padding. Every sublayer is residual, y = x + f(norm(x)); the
/// backward methods work in place on the gradient of the side they belong to.
package final class ZcodeModel {
  package enum Mode: Int, Sendable, CaseIterable {
    case training
    /// The capacity of evaluation, no jitter.
    case evaluation
    /// No capacity: no token is dropped.
    case generation
  }

  package let description: ZcodeDescription
  package let dense: DenseParameters
  package let activations: ZcodeActivations
  package let options: ZcodeOptions
  package let workers: Workers
  let attention: Attention
  let embedding: Embedding
  let head: CrossEntropy
  private let gates: [Gate]

  package private(set) var batch = PackedBatch()
  package private(set) var mode = Mode.training
  /// Keys the random choices of the gates.
  package private(set) var step = 0
  /// What the gates of the layers with experts decided in the last forward sweep.
  package internal(set) var routings: [LayerRouting]

  /// - Parameter training: whether there is memory for a backward sweep.
  package init(
    _ description: ZcodeDescription, dense: DenseParameters, limits: BatchLimits,
    options: ZcodeOptions, training: Bool, workers: Workers
  ) {
    let shape = description.shape
    self.description = description
    self.dense = dense
    self.options = options
    self.workers = workers
    activations = ZcodeActivations(shape, limits, training: training)
    attention = Attention(
      heads: shape.heads, headWidth: shape.width / shape.heads, keysMax: limits.sequenceRows,
      workers: workers)
    embedding = Embedding(width: shape.width, positionsMax: limits.sequenceRows)
    head = CrossEntropy(vocabulary: shape.vocabulary, smoothing: options.labelSmoothing)
    gates = Mode.allCases.map { options.gate(shape, limits, $0) }
    let empty = LayerRouting([], experts: shape.experts, slices: shape.slices)
    routings = Array(repeating: empty, count: shape.mixtures)
  }

  /// Bytes that `init` allocates, dense parameters excepted, for the memory ledger.
  package static func byteCount(
    _ shape: ZcodeShape, _ limits: BatchLimits, training: Bool, workers: Int
  ) -> Int {
    let positions = limits.sequenceRows * shape.width
    let logits = CrossEntropy.rowsPerTile * (shape.vocabulary + 2)
    let gates = Mode.allCases.count * limits.microBatchRows * (shape.experts + shape.width)
    return ZcodeActivations.byteCount(shape, limits, training: training)
      + Attention.scratchByteCount(keysMax: limits.sequenceRows, workers: workers)
      + (positions + logits + gates) * MemoryLayout<Float>.stride
  }

  package var shape: ZcodeShape { description.shape }
  var gate: Gate { gates[mode.rawValue] }

  // MARK: The ends of the forward sweep

  /// Starts a batch: writes the embedded tokens of both sides into the first boundaries.
  /// - Parameter step: keys the random choices of the gates.
  package func embed(_ batch: PackedBatch, step: Int, mode: Mode) {
    precondition(batch.source.rows <= activations.limits.rows, "the source fits the model")
    precondition(batch.target.rows <= activations.limits.rows, "the target fits the model")
    (self.batch, self.step, self.mode) = (batch, step, mode)
    for side in [Side.encoder, .decoder] {
      let packed = batch.side(side)
      embedding.forward(
        packed.tokens, table: weights(description.embedding), sequences: packed.sequences,
        into: boundary(side, 0), on: workers)
    }
  }

  /// Between the stacks: the normalised output of the encoder becomes the decoder's memory.
  package func encoderToDecoder() {
    norm(description.encoderNorm, boundary(.encoder, 2 * shape.encoderLayers), into: memory)
  }

  /// The loss and its gradient, times 1 / target tokens, at the top of the decoder.
  package func lossForwardBackward() -> CrossEntropy.Total {
    let top = boundary(.decoder, 3 * shape.decoderLayers)
    let (z, dz) = (rows(activations.normed, .decoder), rows(activations.dNormed, .decoder))
    norm(description.decoderNorm, top, into: z)
    let total = head.forwardBackward(
      z, targets: batch.labels, embedding: weights(description.embedding),
      scale: 1 / Float(batch.labels.count), dx: dz, dembedding: gradient(description.embedding),
      on: workers)
    let dx = rows(activations.dx, .decoder)
    dx.fill(0)
    rows(activations.dMemory, .encoder).fill(0)
    normBackward(description.decoderNorm, top, dz, into: dx)
    return total
  }

  /// The negative log likelihood of every target row, in nats.
  package func losses() -> [Float] { rowLosses().map(\.negativeLogLikelihood) }

  /// The loss that training minimises, by target row: with label smoothing.
  package func smoothedLosses() -> [Float] { rowLosses().map(\.smoothed) }

  private func rowLosses() -> [(smoothed: Float, negativeLogLikelihood: Float)] {
    let z = rows(activations.normed, .decoder)
    norm(description.decoderNorm, boundary(.decoder, 3 * shape.decoderLayers), into: z)
    var losses: [(smoothed: Float, negativeLogLikelihood: Float)] = []
    _ = head.forward(
      z, targets: batch.labels, embedding: weights(description.embedding), on: workers
    ) { _, smoothed, negativeLogLikelihood in losses.append((smoothed, negativeLogLikelihood)) }
    return losses
  }

  /// Replaces the target side by one micro-batch: the next position of sentences being generated.
  func setTarget(_ tokens: [Int32], sequences: [Range<Int>]) {
    var side = PackedSide()
    side.append(tokens: tokens, sequences: sequences)
    batch.target = side
  }

  // MARK: The ends of the backward sweep

  /// After the decoder's layers: its embedding, then over to the encoder's gradient.
  package func decoderToEncoder() {
    embedBackward(.decoder)
    let dx = rows(activations.dx, .encoder)
    dx.fill(0)
    normBackward(
      description.encoderNorm, boundary(.encoder, 2 * shape.encoderLayers),
      rows(activations.dMemory, .encoder), into: dx)
  }

  package func embedBackward(_ side: Side) {
    embedding.backward(
      batch.side(side).tokens, dx: rows(activations.dx, side),
      dtable: gradient(description.embedding), on: workers)
  }

  // MARK: Views

  func weights(_ slot: TensorSlot) -> Matrix { dense.weights(slot) }
  func gradient(_ slot: TensorSlot) -> Matrix { dense.gradient(slot) }

  /// The rows of `matrix` that the current batch uses on `side`.
  func rows(_ matrix: Matrix, _ side: Side) -> Matrix { matrix.rows(0..<batch.side(side).rows) }
  func boundary(_ side: Side, _ index: Int) -> Matrix {
    rows(activations.boundaries(side)[index], side)
  }
  var memory: Matrix { rows(activations.memory, .encoder) }

  func norm(_ slots: NormSlots, _ x: Matrix, into y: Matrix) {
    LayerNorm().forward(
      x, gain: weights(slots.gain), bias: weights(slots.bias), into: y, on: workers)
  }

  /// dx += the gradient of the norm's input.
  func normBackward(_ slots: NormSlots, _ x: Matrix, _ dy: Matrix, into dx: Matrix) {
    LayerNorm().backward(
      x, gain: weights(slots.gain), dy: dy, dx: dx, accumulate: true,
      dgain: gradient(slots.gain), dbias: gradient(slots.bias), on: workers)
  }
}

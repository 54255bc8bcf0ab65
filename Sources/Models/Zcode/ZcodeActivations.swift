import Kernels

/// The largest batch a model is built for. Rows of all micro-batches together are bounded by
/// `microBatches * microBatchRows` on each side.
package struct BatchLimits: Sendable, Equatable {
  package let microBatches: Int
  package let microBatchRows: Int
  package let sequenceRows: Int
  /// The most rows one expert takes from one micro-batch.
  package let expertRows: Int

  package init(microBatches: Int, microBatchRows: Int, sequenceRows: Int, expertRows: Int) {
    self.microBatches = microBatches
    self.microBatchRows = microBatchRows
    self.sequenceRows = sequenceRows
    self.expertRows = min(expertRows, microBatchRows)
  }

  package var rows: Int { microBatches * microBatchRows }
  package var rowsOfOneExpert: Int { microBatches * expertRows }
}

/// Everything that lives from the forward to the backward sweep, and the scratch of one
/// micro-batch. Allocated once; during a step only index lists and a few bytes a row are.
///
///     boundary[0] --attention--> boundary[1] --FFN--> boundary[2] ...      one such chain a side
///
/// A boundary holds the rows [rows, width] that enter a sublayer; the backward sweep recomputes the
/// rest from it.
package final class ZcodeActivations: Sendable {
  package let limits: BatchLimits
  let encoder: [Matrix]
  let decoder: [Matrix]
  /// The normalised output of the encoder, and the gradient that all cross-attentions add to.
  let memory: Matrix
  let dMemory: Matrix
  /// The gradient of the boundary the backward sweep stands at, on either side.
  let dx: Matrix
  /// Normalised input of an expert layer and its gradient, all micro-batches.
  let normed: Matrix
  let dNormed: Matrix
  /// What each gate made of each row, [rows, experts]; without a backward sweep one serves all.
  let probabilities: [Matrix]
  let scratch: AttentionScratch
  let expert: ExpertScratch

  package init(_ shape: ZcodeShape, _ limits: BatchLimits, training: Bool) {
    func rows(_ count: Int) -> Matrix { Matrix(rows: count, columns: shape.width) }
    let backward = training ? limits.rows : 0
    self.limits = limits
    // Without a backward sweep two boundaries a side take turns.
    encoder = Self.chain(2 * shape.encoderLayers + 1, training, rows(limits.rows), rows)
    decoder = Self.chain(3 * shape.decoderLayers + 1, training, rows(limits.rows), rows)
    memory = rows(limits.rows)
    dMemory = rows(backward)
    dx = rows(backward)
    normed = rows(limits.rows)
    dNormed = rows(backward)
    let gate = Matrix(rows: limits.rows, columns: shape.experts)
    probabilities = (0..<shape.mixtures).map { number in
      training && number > 0 ? Matrix(rows: limits.rows, columns: shape.experts) : gate
    }
    scratch = AttentionScratch(shape, rows: limits.microBatchRows, training: training)
    expert = ExpertScratch(shape, rows: limits.rowsOfOneExpert, training: training)
  }

  private static func chain(
    _ count: Int, _ training: Bool, _ first: Matrix, _ rows: (Int) -> Matrix
  ) -> [Matrix] {
    let own = [first] + (1..<(training ? count : 2)).map { _ in rows(first.rows) }
    return (0..<count).map { own[$0 % own.count] }
  }

  /// Bytes that `init` allocates, for the memory ledger.
  package static func byteCount(
    _ shape: ZcodeShape, _ limits: BatchLimits, training: Bool
  ) -> Int {
    let boundaries =
      training ? 2 * shape.encoderLayers + 1 + 3 * shape.decoderLayers + 1 : 4
    let wide = boundaries + 2 + (training ? 3 : 0)
    let floats =
      wide * limits.rows * shape.width
      + (training ? shape.mixtures : 1) * limits.rows * shape.experts
      + AttentionScratch.floatCount(shape, rows: limits.microBatchRows, training: training)
      + ExpertScratch.floatCount(shape, rows: limits.rowsOfOneExpert, training: training)
    return floats * MemoryLayout<Float>.stride
  }

  func boundaries(_ side: Side) -> [Matrix] { side == .encoder ? encoder : decoder }
}

/// What one micro-batch needs inside a dense sublayer.
struct AttentionScratch: Sendable {
  let normed: Matrix
  let dNormed: Matrix
  /// Queries, keys and values [rows, 3 width]; cross-attention uses the first third for its
  /// queries.
  let qkv: Matrix
  let dqkv: Matrix
  /// Keys and values of the encoder's output [rows, 2 width].
  let keysValues: Matrix
  let dKeysValues: Matrix
  let context: Matrix
  let dContext: Matrix
  /// Hidden units of a dense FFN [rows, hidden].
  let hidden: Matrix
  let dHidden: Matrix

  init(_ shape: ZcodeShape, rows: Int, training: Bool) {
    let d = shape.width
    let backward = training ? rows : 0
    normed = Matrix(rows: rows, columns: d)
    dNormed = Matrix(rows: backward, columns: d)
    qkv = Matrix(rows: rows, columns: 3 * d)
    dqkv = Matrix(rows: backward, columns: 3 * d)
    keysValues = Matrix(rows: rows, columns: 2 * d)
    dKeysValues = Matrix(rows: backward, columns: 2 * d)
    context = Matrix(rows: rows, columns: d)
    dContext = Matrix(rows: backward, columns: d)
    hidden = Matrix(rows: rows, columns: shape.hidden)
    dHidden = Matrix(rows: backward, columns: shape.hidden)
  }

  static func floatCount(_ shape: ZcodeShape, rows: Int, training: Bool) -> Int {
    (training ? 2 : 1) * rows * (7 * shape.width + shape.hidden)
  }
}

/// What one expert block needs: its weights as floats, its gradient, and the rows routed to it.
struct ExpertScratch: Sendable {
  let weights: FloatBuffer
  let gradients: FloatBuffer
  let input: Matrix
  let dInput: Matrix
  let hidden: Matrix
  let dHidden: Matrix
  let output: Matrix
  /// Combine weights of the rows and their gradients, [rows, 1].
  let combine: Matrix
  let dCombine: Matrix

  init(_ shape: ZcodeShape, rows: Int, training: Bool) {
    let backward = training ? rows : 0
    combine = Matrix(rows: rows, columns: 1)
    dCombine = Matrix(rows: backward, columns: 1)
    weights = FloatBuffer(count: shape.parametersPerBlock)
    gradients = FloatBuffer(count: training ? shape.parametersPerBlock : 0)
    input = Matrix(rows: rows, columns: shape.width)
    dInput = Matrix(rows: backward, columns: shape.width)
    hidden = Matrix(rows: rows, columns: shape.sliceHidden)
    dHidden = Matrix(rows: backward, columns: shape.sliceHidden)
    output = Matrix(rows: rows, columns: shape.width)
  }

  static func floatCount(_ shape: ZcodeShape, rows: Int, training: Bool) -> Int {
    (training ? 2 : 1) * (shape.parametersPerBlock + rows * (shape.width + shape.sliceHidden))
      + rows * (shape.width + 2)
  }
}

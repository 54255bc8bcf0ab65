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
/// micro-batch. Allocated once; during a step only index lists and sums of norms are.
///
///     boundary[0] --attention--> boundary[1] --FFN--> boundary[2] ...      one such chain a side
///
/// A boundary holds the rows [rows, width] that enter a sublayer; the backward sweep recomputes the
/// rest from it, but for what is kept on a tape. Those of all layers are here, or those of one layer
/// at a time (`BoundaryRule`).
package final class Activations: Sendable {
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
  /// What is kept of each layer, by its number; nil: nothing.
  let tapes: [LayerTape?]

  package init(
    _ model: ModelDescription, _ limits: BatchLimits, _ rule: BoundaryRule, training: Bool
  ) {
    let width = model.width
    func rows(_ count: Int) -> Matrix { Matrix(rows: count, columns: width) }
    let backward = training ? limits.rows : 0
    self.limits = limits
    let chains = BoundaryChains(model, rule, training: training)
    let boundaries = (0..<chains.matrices).map { _ in rows(limits.rows) }
    encoder = chains.encoder.map { boundaries[$0] }
    decoder = chains.decoder.map { boundaries[$0] }
    memory = rows(model.encoder == nil ? 0 : limits.rows)
    dMemory = rows(model.encoder == nil ? 0 : backward)
    dx = rows(backward)
    normed = rows(limits.rows)
    dNormed = rows(backward)
    let gate = Matrix(rows: limits.rows, columns: model.experts.count)
    probabilities = (0..<model.mixtures).map { number in
      training && number > 0 ? Matrix(rows: limits.rows, columns: model.experts.count) : gate
    }
    scratch = AttentionScratch(model, rows: limits.microBatchRows, training: training)
    expert = ExpertScratch(model.experts, rows: limits.rowsOfOneExpert, training: training)
    tapes = model.layers.enumerated().map { number, layer in
      training && rule.tapes.contains(number)
        ? LayerTape(layer, model, rows: limits.rows) : nil
    }
  }

  /// Bytes that `init` allocates, for the memory ledger.
  package static func byteCount(
    _ model: ModelDescription, _ limits: BatchLimits, _ rule: BoundaryRule, training: Bool
  ) -> Int {
    let boundaries = BoundaryChains(model, rule, training: training).matrices
    let wide = boundaries + 1 + (training ? 2 : 0) + (model.encoder == nil ? 0 : training ? 2 : 1)
    let floats =
      wide * limits.rows * model.width
      + (training ? model.mixtures : 1) * limits.rows * model.experts.count
      + AttentionScratch.floatCount(model, rows: limits.microBatchRows, training: training)
      + ExpertScratch.floatCount(
        model.experts, rows: limits.rowsOfOneExpert, training: training)
    let tapes = model.layers[rule.tapes].reduce(0) { $0 + model.tapeBytes($1, limits) }
    return floats * MemoryLayout<Float>.stride
      + (training ? tapes : 0)
  }

  func boundaries(_ side: Side) -> [Matrix] { side == .encoder ? encoder : decoder }
}

/// What one micro-batch needs inside a dense sublayer.
struct AttentionScratch: Sendable {
  let normed: Matrix
  let dNormed: Matrix
  /// Queries, keys and values [rows, all columns]; cross-attention uses the first for its queries.
  let qkv: Matrix
  let dqkv: Matrix
  /// Queries, keys and values before norms and clipping, and the gradient of that; empty without.
  let raw: Matrix
  let dRaw: Matrix
  /// Keys and values of the encoder's output.
  let keysValues: Matrix
  let dKeysValues: Matrix
  let context: Matrix
  let dContext: Matrix
  /// Hidden units of a dense FFN [rows, hidden], and those of the third projection of gated ones.
  let hidden: Matrix
  let dHidden: Matrix
  let up: Matrix

  init(_ model: ModelDescription, rows: Int, training: Bool) {
    let widths = Widths(model)
    let backward = training ? rows : 0
    normed = Matrix(rows: rows, columns: model.width)
    dNormed = Matrix(rows: backward, columns: model.width)
    qkv = Matrix(rows: rows, columns: widths.input)
    dqkv = Matrix(spacedRows: backward, columns: widths.input)
    raw = Matrix(rows: backward, columns: widths.rawInput)
    dRaw = Matrix(rows: backward, columns: widths.rawInput)
    keysValues = Matrix(rows: rows, columns: widths.memory)
    dKeysValues = Matrix(spacedRows: backward, columns: widths.memory)
    context = Matrix(rows: rows, columns: widths.context)
    dContext = Matrix(rows: backward, columns: widths.context)
    hidden = Matrix(spacedRows: rows, columns: widths.hidden)
    dHidden = Matrix(spacedRows: backward, columns: widths.hidden)
    up = Matrix(spacedRows: rows, columns: widths.up)
  }

  static func floatCount(_ model: ModelDescription, rows: Int, training: Bool) -> Int {
    let w = Widths(model)
    let spaced = Matrix.spacedStride(columns:)
    let forward = model.width + w.input + w.memory + w.context + spaced(w.hidden) + spaced(w.up)
    let backward =
      model.width + spaced(w.input) + spaced(w.memory) + w.context + spaced(w.hidden)
      + 2 * w.rawInput
    return rows * (forward + (training ? backward : 0))
  }

  /// The widest of each over all layers.
  private struct Widths {
    var input = 0
    var rawInput = 0
    var memory = 0
    var context = 0
    var hidden = 0
    var up = 0

    init(_ model: ModelDescription) {
      for layer in model.layers {
        for attention in [layer.selfAttention, layer.crossAttention].compactMap({ $0 }) {
          input = max(input, attention.input.weight.rows)
          memory = max(memory, attention.memory?.weight.rows ?? 0)
          context = max(context, attention.shape.queryColumns)
          if attention.needsRaw { rawInput = max(rawInput, attention.input.weight.rows) }
        }
        if case .dense(let ffn) = layer.feedForward {
          hidden = max(hidden, ffn.first.rows)
          up = max(up, ffn.third?.rows ?? 0)
        }
      }
    }
  }
}

/// What one expert block needs: its weights as floats, its gradient, and the rows routed to it.
struct ExpertScratch: Sendable {
  let weights: ExpertWeights
  let gradients: FloatBuffer
  let input: Matrix
  let dInput: Matrix
  let hidden: Matrix
  let dHidden: Matrix
  /// Of gated experts.
  let up: Matrix
  let output: Matrix
  /// Combine weights of the rows and their gradients, [rows, 1].
  let combine: Matrix
  let dCombine: Matrix

  init(_ experts: ExpertShape, rows: Int, training: Bool) {
    let backward = training ? rows : 0
    let upColumns = experts.isGated ? experts.sliceHidden : 0
    combine = Matrix(rows: rows, columns: 1)
    dCombine = Matrix(rows: backward, columns: 1)
    weights = ExpertWeights(experts)
    gradients = FloatBuffer(count: training ? experts.parametersPerBlock : 0)
    input = Matrix(rows: rows, columns: experts.width)
    dInput = Matrix(rows: backward, columns: experts.width)
    hidden = Matrix(spacedRows: rows, columns: experts.sliceHidden)
    dHidden = Matrix(spacedRows: backward, columns: experts.sliceHidden)
    up = Matrix(spacedRows: rows, columns: upColumns)
    output = Matrix(rows: rows, columns: experts.width)
  }

  static func floatCount(_ experts: ExpertShape, rows: Int, training: Bool) -> Int {
    let hidden = Matrix.spacedStride(columns: experts.sliceHidden)
    let both = rows * (experts.width + hidden + 1)
    return ExpertWeights.floatCount(experts) + (training ? experts.parametersPerBlock : 0)
      + (training ? 2 : 1) * both + rows * (experts.width + (experts.isGated ? hidden : 0))
  }
}

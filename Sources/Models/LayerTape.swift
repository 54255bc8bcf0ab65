import Kernels
import Layers

/// What the forward sweep computes inside a layer and the backward sweep wants again, between
/// boundaries. Kept, it waits here; else it is computed a second time, in scratch of one micro-batch
/// or one expert. The numbers are the same.
///
/// Rows are tokens of all micro-batches of the side; in a layer of experts, those of the FFN are the
/// choices of its tokens, expert by expert.
struct LayerTape: Sendable {
  let own: AttentionTape
  let cross: AttentionTape?
  let feedForward: FeedForward.Tape

  init(_ layer: LayerDescription, _ model: ModelDescription, rows: Int) {
    own = AttentionTape(layer.selfAttention, rows: rows)
    cross = layer.crossAttention.map { AttentionTape($0, rows: rows) }
    let units = layer.units(model)
    let choices = rows * layer.choices(model)
    feedForward = FeedForward.Tape(
      hidden: Matrix(rows: choices, columns: units.hidden),
      up: units.isGated ? Matrix(rows: choices, columns: units.hidden) : nil)
  }

  static func floatCount(_ layer: LayerDescription, _ model: ModelDescription, rows: Int) -> Int {
    let units = layer.units(model)
    let attentions = [layer.selfAttention, layer.crossAttention].compactMap { $0 }
    return attentions.reduce(0) { $0 + AttentionTape.columns($1) * rows }
      + rows * layer.choices(model) * units.hidden * (units.isGated ? 2 : 1)
  }
}

/// Of one attention, before its output projection.
struct AttentionTape: Sendable {
  /// Queries, keys and values [N, all columns] as attention takes them; the queries of
  /// cross-attention.
  let input: Matrix
  /// The same before norms, clipping and rotation, where the gradient asks for it.
  let raw: Matrix?
  /// Keys and values of the encoder's output, for cross-attention.
  let memory: Matrix?
  let context: Matrix

  init(input: Matrix, raw: Matrix?, memory: Matrix?, context: Matrix) {
    (self.input, self.raw, self.memory, self.context) = (input, raw, memory, context)
  }

  init(_ slots: AttentionDescription, rows: Int) {
    input = Matrix(rows: rows, columns: slots.input.weight.rows)
    raw = slots.needsRaw ? Matrix(rows: rows, columns: slots.input.weight.rows) : nil
    memory = slots.memory.map { Matrix(rows: rows, columns: $0.weight.rows) }
    context = Matrix(rows: rows, columns: slots.shape.queryColumns)
  }

  static func columns(_ slots: AttentionDescription) -> Int {
    slots.input.weight.rows * (slots.needsRaw ? 2 : 1) + (slots.memory?.weight.rows ?? 0)
      + slots.shape.queryColumns
  }

  /// One micro-batch of it; `source` are the rows of the encoder's output it looks at.
  func rows(_ rows: Range<Int>, source: Range<Int>) -> AttentionTape {
    AttentionTape(
      input: input.rows(rows), raw: raw?.rows(rows), memory: memory?.rows(source),
      context: context.rows(rows))
  }
}

extension AttentionScratch {
  /// Where attention leaves what nobody keeps.
  func tape(_ slots: AttentionDescription, rows: Int, source: Int) -> AttentionTape {
    func part(_ matrix: Matrix, _ rows: Int, _ columns: Int) -> Matrix {
      matrix.rows(0..<rows).columns(0..<columns)
    }
    let columns = slots.input.weight.rows
    return AttentionTape(
      input: part(qkv, rows, columns),
      raw: slots.needsRaw && raw.rows > 0 ? part(raw, rows, columns) : nil,
      memory: slots.memory.map { part(keysValues, source, $0.weight.rows) },
      context: part(context, rows, slots.shape.queryColumns))
  }
}

extension LayerDescription {
  /// The hidden units of the FFN, of all slices of an expert.
  fileprivate func units(_ model: ModelDescription) -> (hidden: Int, isGated: Bool) {
    switch feedForward {
    case .dense(let ffn): (ffn.first.rows, ffn.third != nil)
    case .mixture: (model.experts.hidden, model.experts.isGated)
    }
  }

  /// Rows of the FFN for each token, at most.
  fileprivate func choices(_ model: ModelDescription) -> Int {
    if case .mixture = feedForward, case .topK(let rule) = model.routing { rule.k } else { 1 }
  }
}

extension ModelDescription {
  /// Bytes that the tape of a layer takes, for batches of `limits`, by the number of the layer.
  package func tapeBytes(_ limits: BatchLimits) -> [Int] {
    layers.map {
      LayerTape.floatCount($0, self, rows: limits.rows) * MemoryLayout<Float>.stride
    }
  }
}

extension Transformer {
  /// What is kept of `layer`; nil: nothing, or nobody will ask for it.
  func tape(_ layer: LayerDescription) -> LayerTape? {
    mode == .training ? activations.tapes[description.number(of: layer)] : nil
  }

  /// Where an attention of `layer` leaves what it computes for a micro-batch: kept or not.
  func attentionTape(
    _ layer: LayerDescription, _ slots: AttentionDescription, _ microBatch: Int
  ) -> AttentionTape {
    let rows = batch.side(layer.side).microBatches[microBatch]
    let isCross = slots.memory != nil
    let source = isCross ? batch.source.microBatches[microBatch] : 0..<0
    guard let tape = tape(layer), let kept = isCross ? tape.cross : tape.own else {
      return scratch.tape(slots, rows: rows.count, source: source.count)
    }
    return kept.rows(rows, source: source)
  }
}

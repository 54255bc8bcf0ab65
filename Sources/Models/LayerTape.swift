package import Kernels
import Layers

/// What the forward sweep computes inside a layer and the backward sweep wants again, between
/// boundaries. Kept, it waits here; else it is computed a second time, in scratch of one micro-batch
/// or one expert. The numbers are the same.
///
/// Rows are tokens of all micro-batches of the side; in a layer of experts, those of the FFN are the
/// choices of its tokens, expert by expert.
struct LayerTape: Sendable {
  let own: AttentionTape?
  let cross: AttentionTape?
  let feedForward: FeedForward.Tape?

  /// Of all sublayers, in memory of its own, for `rows` tokens.
  init(_ layer: LayerDescription, _ model: ModelDescription, rows: Int) {
    own = AttentionTape(layer.selfAttention, rows, source: 0) { Matrix(rows: $0, columns: $1) }
    cross = layer.crossAttention.map {
      AttentionTape($0, rows, source: rows) { Matrix(rows: $0, columns: $1) }
    }
    feedForward = FeedForward.Tape(layer.units(model), rows * layer.choices(model)) {
      Matrix(rows: $0, columns: $1)
    }
  }

  /// Of one sublayer, in `memory`, with as many rows as the batch has there.
  init(_ layer: LayerDescription, _ sublayer: Sublayer, _ size: TapeSize, in memory: FloatBuffer) {
    var offset = 0
    func next(_ rows: Int, _ columns: Int) -> Matrix {
      defer { offset += rows * columns }
      return memory.matrix(rows: rows, columns: columns, offset: offset)
    }
    let (rows, source) = (size.rows, size.source)
    own =
      sublayer == .selfAttention
      ? AttentionTape(layer.selfAttention, rows, source: 0, next) : nil
    cross =
      sublayer == .crossAttention
      ? layer.crossAttention.map { AttentionTape($0, rows, source: source, next) } : nil
    feedForward =
      sublayer == .feedForward ? FeedForward.Tape(size.units, rows, next) : nil
  }
}

/// A part of a layer with a residual connection around it, in forward order.
package enum Sublayer: Int, Sendable, CaseIterable {
  case selfAttention, crossAttention, feedForward
}

/// How large the tape of a sublayer is.
struct TapeSize {
  /// Of the FFN in a layer of experts: choices.
  var rows: Int
  /// Rows of the encoder's output, of cross-attention.
  var source = 0
  /// Of the FFN.
  var units = Units(hidden: 0, isGated: false)
  private var attention: AttentionDescription?

  /// The hidden units of an FFN, of all slices of an expert.
  struct Units {
    let hidden: Int
    let isGated: Bool
  }

  init(_ slots: AttentionDescription, rows: Int, source: Int) {
    (self.rows, self.source, attention) = (rows, source, slots)
  }

  init(_ units: Units, rows: Int) { (self.rows, self.units) = (rows, units) }

  var floatCount: Int {
    guard let attention else { return rows * units.hidden * (units.isGated ? 2 : 1) }
    let columns =
      attention.input.weight.rows * (attention.needsRaw ? 2 : 1) + attention.shape.queryColumns
    return rows * columns + source * (attention.memory?.weight.rows ?? 0)
  }
}

extension FeedForward.Tape {
  init(_ units: TapeSize.Units, _ rows: Int, _ matrix: (Int, Int) -> Matrix) {
    self.init(
      hidden: matrix(rows, units.hidden), up: units.isGated ? matrix(rows, units.hidden) : nil)
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

  /// - Parameter matrix: gives the memory, rows times columns.
  init(
    _ slots: AttentionDescription, _ rows: Int, source: Int, _ matrix: (Int, Int) -> Matrix
  ) {
    input = matrix(rows, slots.input.weight.rows)
    raw = slots.needsRaw ? matrix(rows, slots.input.weight.rows) : nil
    memory = slots.memory.map { matrix(source, $0.weight.rows) }
    context = matrix(rows, slots.shape.queryColumns)
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
  fileprivate func units(_ model: ModelDescription) -> TapeSize.Units {
    switch feedForward {
    case .dense(let ffn): TapeSize.Units(hidden: ffn.first.rows, isGated: ffn.third != nil)
    case .mixture: TapeSize.Units(hidden: model.experts.hidden, isGated: model.experts.isGated)
    }
  }

  /// Rows of the FFN for each token, at most.
  fileprivate func choices(_ model: ModelDescription) -> Int {
    if case .mixture = feedForward { model.routing.expertsPerToken } else { 1 }
  }

  package var sublayers: [Sublayer] {
    crossAttention == nil ? [.selfAttention, .feedForward] : Sublayer.allCases
  }

  /// Those that every token passes with the same weights.
  package var denseSublayers: [Sublayer] {
    sublayers.filter { mixture == nil || $0 != .feedForward }
  }
}

extension ModelDescription {
  /// Bytes that the tape of a sublayer takes at most, for batches of `limits`.
  package func tapeBytes(
    _ layer: LayerDescription, _ sublayer: Sublayer, _ limits: BatchLimits
  ) -> Int {
    let size =
      switch sublayer {
      case .selfAttention: TapeSize(layer.selfAttention, rows: limits.rows, source: 0)
      case .crossAttention:
        layer.crossAttention.map {
          TapeSize($0, rows: limits.rows, source: limits.rows)
        }
      case .feedForward: TapeSize(layer.units(self), rows: limits.rows * layer.choices(self))
      }
    return (size?.floatCount ?? 0) * MemoryLayout<Float>.stride
  }

  /// The same of a whole layer.
  package func tapeBytes(_ layer: LayerDescription, _ limits: BatchLimits) -> Int {
    layer.sublayers.reduce(0) { $0 + tapeBytes(layer, $1, limits) }
  }
}

/// A tape in somebody else's memory, of one sublayer, as long as the sublayer is computed.
struct TapeLoan {
  let layer: Int
  let tape: LayerTape
}

extension Transformer {
  /// Bytes that the tape of a sublayer takes for the current batch; of experts, after they were
  /// routed.
  package func tapeByteCount(_ layer: LayerDescription, _ sublayer: Sublayer) -> Int {
    tapeSize(layer, sublayer).floatCount * MemoryLayout<Float>.stride
  }

  /// From now to `endLoan` the sublayer keeps its tape in `memory`, or finds there what it left.
  package func lend(_ memory: FloatBuffer, to sublayer: Sublayer, of layer: LayerDescription) {
    precondition(tape(layer) == nil && loan == nil, "one loan at a time, where nothing is kept")
    loan = TapeLoan(
      layer: description.number(of: layer),
      tape: LayerTape(layer, sublayer, tapeSize(layer, sublayer), in: memory))
  }

  package func endLoan() { loan = nil }

  private func tapeSize(_ layer: LayerDescription, _ sublayer: Sublayer) -> TapeSize {
    let rows = batch.side(layer.side).rows
    switch sublayer {
    case .selfAttention: return TapeSize(layer.selfAttention, rows: rows, source: 0)
    case .crossAttention:
      guard let cross = layer.crossAttention else { preconditionFailure("a cross-attention") }
      return TapeSize(cross, rows: rows, source: batch.source.rows)
    case .feedForward:
      let choices = layer.mixture.map { routings[$0].rows.count }
      return TapeSize(layer.units(description), rows: choices ?? rows)
    }
  }

  /// What is kept of `layer`, all of it or the sublayer at hand; nil: nothing, or nobody will ask.
  func tape(_ layer: LayerDescription) -> LayerTape? {
    guard mode == .training else { return nil }
    let number = description.number(of: layer)
    if let loan, loan.layer == number { return loan.tape }
    return activations.tapes[number]
  }

  /// What is kept of an attention of `layer` and a micro-batch.
  func keptTape(
    _ layer: LayerDescription, _ slots: AttentionDescription, _ microBatch: Int
  ) -> AttentionTape? {
    guard let tape = tape(layer) else { return nil }
    let rows = batch.side(layer.side).microBatches[microBatch]
    return slots.memory == nil
      ? tape.own?.rows(rows, source: 0..<0)
      : tape.cross?.rows(rows, source: batch.source.microBatches[microBatch])
  }

  /// Where an attention of `layer` leaves what nobody keeps.
  func scratchTape(
    _ layer: LayerDescription, _ slots: AttentionDescription, _ microBatch: Int
  ) -> AttentionTape {
    scratch.tape(
      slots, rows: batch.side(layer.side).microBatches[microBatch].count,
      source: slots.memory == nil ? 0 : batch.source.microBatches[microBatch].count)
  }
}

import Kernels
import Layers

/// The sublayers that every token passes with the same weights: attention, cross-attention and the
/// dense FFN. Each runs micro-batch by micro-batch, so scratch is bounded by one of them.
extension Transformer {
  /// The attentions of `layer`, and its FFN if that is dense.
  package func attendForward(_ layer: LayerDescription) {
    for sublayer in layer.denseSublayers { forward(sublayer, of: layer) }
  }

  /// One of them, for all micro-batches.
  package func forward(_ sublayer: Sublayer, of layer: LayerDescription) {
    let first = firstBoundary(layer)
    for microBatch in batch.side(layer.side).microBatches.indices {
      switch (sublayer, layer.crossAttention, layer.feedForward) {
      case (.selfAttention, _, _): selfAttentionForward(layer, microBatch, first)
      case (.crossAttention, let cross?, _):
        crossAttentionForward(layer, cross, microBatch, first + 1)
      case (.feedForward, _, .dense(let ffn)):
        feedForwardForward(layer, ffn, microBatch, last(layer) - 1)
      default: preconditionFailure("a dense sublayer of the layer")
      }
    }
  }

  /// The same in reverse: from the gradient of the layer's output to that of its input, in place.
  package func attendBackward(_ layer: LayerDescription) {
    for sublayer in layer.denseSublayers.reversed() { backward(sublayer, of: layer) }
  }

  package func backward(_ sublayer: Sublayer, of layer: LayerDescription) {
    let first = firstBoundary(layer)
    for microBatch in batch.side(layer.side).microBatches.indices {
      switch (sublayer, layer.crossAttention, layer.feedForward) {
      case (.selfAttention, _, _): selfAttentionBackward(layer, microBatch, first)
      case (.crossAttention, let cross?, _):
        crossAttentionBackward(layer, cross, microBatch, first + 1)
      case (.feedForward, _, .dense(let ffn)):
        feedForwardBackward(layer, ffn, microBatch, last(layer) - 1)
      default: preconditionFailure("a dense sublayer of the layer")
      }
    }
  }

  /// The boundary that enters `layer`, and the one that leaves it.
  func firstBoundary(_ layer: LayerDescription) -> Int {
    layer.index * description.sublayers(layer.side)
  }
  func last(_ layer: LayerDescription) -> Int {
    (layer.index + 1) * description.sublayers(layer.side)
  }

  // MARK: Self-attention

  private func selfAttentionForward(
    _ layer: LayerDescription, _ microBatch: Int, _ index: Int
  ) {
    let (x, y, spans) = sublayer(layer.side, index, microBatch)
    roundBoundary(x)
    y.copy(from: x, on: workers)
    let h = scratch.normed.rows(0..<x.rows)
    norm(layer.selfAttention.norm, x, into: h)
    let slots = layer.selfAttention
    let tape = keptTape(layer, slots, microBatch) ?? scratchTape(layer, slots, microBatch)
    selfAttentionContext(layer, h, into: tape, microBatch, spans)
    addProjected(tape.context, layer.selfAttention.output, to: y)
  }

  /// Normalised input -> queries, keys, values -> context.
  private func selfAttentionContext(
    _ layer: LayerDescription, _ h: Matrix, into tape: AttentionTape, _ microBatch: Int,
    _ spans: [AttentionSpan]
  ) {
    let slots = layer.selfAttention
    let parts = Parts(tape.input, slots.shape)
    project(h, slots.input, into: parts.all)
    tape.raw?.copy(from: parts.all, on: workers)
    position(parts, slots, batch.side(layer.side).sequences(of: microBatch))
    attention(slots).forward(
      parts.q, parts.k, parts.v, spans: spans, isCausal: layer.side == .decoder,
      bias: positionBias(layer.side), into: tape.context)
  }

  private func selfAttentionBackward(
    _ layer: LayerDescription, _ microBatch: Int, _ index: Int
  ) {
    let slots = layer.selfAttention
    let (x, _, spans) = sublayer(layer.side, index, microBatch)
    let dy = activations.dx.rows(batch.side(layer.side).microBatches[microBatch])
    let (h, dh) = (scratch.normed.rows(0..<x.rows), scratch.dNormed.rows(0..<x.rows))
    let kept = keptTape(layer, slots, microBatch)
    let tape = kept ?? scratchTape(layer, slots, microBatch)
    norm(slots.norm, x, into: h)
    if kept == nil { selfAttentionContext(layer, h, into: tape, microBatch, spans) }
    let parts = Parts(tape.input, slots.shape)
    let gradients = Parts(scratch.dqkv.rows(0..<x.rows), slots.shape)
    let dContext = scratch.dContext(x.rows, slots.shape)
    projectionBackward(slots.output, tape.context, dy)
    matmul(dy, weights(slots.output.weight), into: dContext, on: workers)
    // Nobody looks at padding: its keys and values have no gradient.
    if batch.side(layer.side).isToken(of: microBatch) != nil { gradients.all.fill(0, on: workers) }
    attention(slots).backward(
      parts.q, parts.k, parts.v, spans: spans, isCausal: layer.side == .decoder,
      bias: positionBias(layer.side), context: tape.context, dcontext: dContext, dq: gradients.q,
      dk: gradients.k, dv: gradients.v, dtable: positionBiasGradient(layer.side))
    positionBackward(
      gradients, slots, tape.raw, batch.side(layer.side).sequences(of: microBatch))
    projectionBackward(slots.input, h, gradients.all)
    matmul(gradients.all, weights(slots.input.weight), into: dh, on: workers)
    normBackward(slots.norm, x, dh, into: dy)
  }

  // MARK: Cross-attention

  private func crossAttentionForward(
    _ layer: LayerDescription, _ slots: AttentionDescription, _ microBatch: Int, _ index: Int
  ) {
    let (x, y, _) = sublayer(.decoder, index, microBatch)
    roundBoundary(x)
    y.copy(from: x, on: workers)
    let h = scratch.normed.rows(0..<x.rows)
    norm(slots.norm, x, into: h)
    let tape = keptTape(layer, slots, microBatch) ?? scratchTape(layer, slots, microBatch)
    crossAttentionContext(slots, h, into: tape, microBatch)
    addProjected(tape.context, slots.output, to: y)
  }

  private func crossAttentionContext(
    _ slots: AttentionDescription, _ h: Matrix, into tape: AttentionTape, _ microBatch: Int
  ) {
    let kv = KeysValues(tape, slots.shape)
    project(h, slots.input, into: tape.input)
    project(memoryRows(microBatch), memoryProjection(slots), into: kv.all)
    attention(slots).forward(
      tape.input, kv.k, kv.v, spans: crossSpans(microBatch), isCausal: false, into: tape.context)
  }

  private func crossAttentionBackward(
    _ layer: LayerDescription, _ slots: AttentionDescription, _ microBatch: Int, _ index: Int
  ) {
    let (x, _, _) = sublayer(.decoder, index, microBatch)
    let dy = activations.dx.rows(batch.target.microBatches[microBatch])
    let memory = memoryRows(microBatch)
    let (h, dh) = (scratch.normed.rows(0..<x.rows), scratch.dNormed.rows(0..<x.rows))
    let kept = keptTape(layer, slots, microBatch)
    let tape = kept ?? scratchTape(layer, slots, microBatch)
    norm(slots.norm, x, into: h)
    if kept == nil { crossAttentionContext(slots, h, into: tape, microBatch) }
    let dq = scratch.dqkv.rows(0..<x.rows).columns(0..<slots.shape.queryColumns)
    let kv = KeysValues(tape, slots.shape)
    let dkv = KeysValues(scratch.dKeysValues.rows(0..<memory.rows), slots.shape)
    let dContext = scratch.dContext(x.rows, slots.shape)
    projectionBackward(slots.output, tape.context, dy)
    matmul(dy, weights(slots.output.weight), into: dContext, on: workers)
    if batch.source.isToken(of: microBatch) != nil { dkv.all.fill(0, on: workers) }
    attention(slots).backward(
      tape.input, kv.k, kv.v, spans: crossSpans(microBatch), isCausal: false,
      context: tape.context, dcontext: dContext, dq: dq, dk: dkv.k, dv: dkv.v)
    projectionBackward(slots.input, h, dq)
    matmul(dq, weights(slots.input.weight), into: dh, on: workers)
    normBackward(slots.norm, x, dh, into: dy)
    let projection = memoryProjection(slots)
    projectionBackward(projection, memory, dkv.all)
    matmul(
      dkv.all, weights(projection.weight),
      into: activations.dMemory.rows(batch.source.microBatches[microBatch]), accumulate: true,
      on: workers)
  }

  // MARK: Dense FFN

  func feedForwardForward(
    _ layer: LayerDescription, _ ffn: FeedForwardDescription.DenseFeedForward, _ microBatch: Int,
    _ index: Int
  ) {
    let (x, y, _) = sublayer(layer.side, index, microBatch)
    let h = scratch.normed.rows(0..<x.rows)
    roundBoundary(x)
    norm(layer.feedForwardNorm, x, into: h)
    y.copy(from: x, on: workers)
    feedForward(ffn).forward(
      h, hidden: scratch.hidden(x.rows, ffn), up: scratch.up(x.rows, ffn),
      keeping: feedForwardTape(layer, microBatch), into: y, accumulate: true, on: workers)
  }

  private func feedForwardBackward(
    _ layer: LayerDescription, _ ffn: FeedForwardDescription.DenseFeedForward, _ microBatch: Int,
    _ index: Int
  ) {
    let (x, _, _) = sublayer(layer.side, index, microBatch)
    let dy = activations.dx.rows(batch.side(layer.side).microBatches[microBatch])
    let (h, dh) = (scratch.normed.rows(0..<x.rows), scratch.dNormed.rows(0..<x.rows))
    norm(layer.feedForwardNorm, x, into: h)
    feedForward(ffn).backward(
      h, dy: dy, combine: nil, hidden: scratch.hidden(x.rows, ffn), up: scratch.up(x.rows, ffn),
      dhidden: scratch.dHidden(x.rows, ffn), from: feedForwardTape(layer, microBatch),
      into: FeedForward.Gradients(
        dh: dh, dw1: gradient(ffn.first), dw2: gradient(ffn.second),
        dw3: ffn.third.map(gradient), db1: ffn.firstBias.map(gradient),
        db2: ffn.secondBias.map(gradient), accumulateInput: false, accumulateWeights: true),
      on: workers)
    normBackward(layer.feedForwardNorm, x, dh, into: dy)
  }

  private func feedForwardTape(
    _ layer: LayerDescription, _ microBatch: Int
  ) -> FeedForward.Tape? {
    tape(layer)?.feedForward?.rows(batch.side(layer.side).microBatches[microBatch])
  }

  private func feedForward(_ ffn: FeedForwardDescription.DenseFeedForward) -> FeedForward {
    FeedForward(
      ffn.activation, w1: weights(ffn.first), w2: weights(ffn.second), w3: ffn.third.map(weights),
      b1: ffn.firstBias.map(weights), b2: ffn.secondBias.map(weights))
  }

  // MARK: Views of one micro-batch

  /// Input, output and self-attention spans of one micro-batch at boundary `index`.
  private func sublayer(
    _ side: Side, _ index: Int, _ microBatch: Int
  ) -> (x: Matrix, y: Matrix, spans: [AttentionSpan]) {
    let packed = batch.side(side)
    let rows = packed.microBatches[microBatch]
    let boundaries = activations.boundaries(side)
    let spans = zip(packed.sequences(of: microBatch), packed.keys(of: microBatch)).map {
      AttentionSpan(queries: $0, keys: $1, rows: $0)
    }
    return (boundaries[index].rows(rows), boundaries[index + 1].rows(rows), spans)
  }

  /// Target sequences look at their source sequences.
  private func crossSpans(_ microBatch: Int) -> [AttentionSpan] {
    zip(batch.target.sequences(of: microBatch), batch.source.keys(of: microBatch)).map {
      AttentionSpan(queries: $0, keys: $1)
    }
  }

  private func memoryRows(_ microBatch: Int) -> Matrix {
    activations.memory.rows(batch.source.microBatches[microBatch])
  }

  func memoryProjection(_ slots: AttentionDescription) -> Projection {
    guard let memory = slots.memory else { preconditionFailure("cross-attention has a memory") }
    return memory
  }

  /// y += x W^T + b.
  func addProjected(_ x: Matrix, _ projection: Projection, to y: Matrix) {
    matmul(
      x, weights(projection.weight), transposeB: true, into: y, accumulate: true, on: workers)
    if let bias = projection.bias { addRow(weights(bias), to: y, on: workers) }
  }

  func attention(_ slots: AttentionDescription) -> Attention {
    guard let attention = attentions[slots.shape] else {
      preconditionFailure("an attention of every shape")
    }
    return attention
  }

  var scratch: AttentionScratch { activations.scratch }
}

extension AttentionScratch {
  func context(_ rows: Int, _ shape: AttentionShape) -> Matrix {
    context.rows(0..<rows).columns(0..<shape.queryColumns)
  }
  func dContext(_ rows: Int, _ shape: AttentionShape) -> Matrix {
    dContext.rows(0..<rows).columns(0..<shape.queryColumns)
  }
  func hidden(_ rows: Int, _ ffn: FeedForwardDescription.DenseFeedForward) -> Matrix {
    hidden.rows(0..<rows).columns(0..<ffn.first.rows)
  }
  func dHidden(_ rows: Int, _ ffn: FeedForwardDescription.DenseFeedForward) -> Matrix {
    dHidden.rows(0..<rows).columns(0..<ffn.first.rows)
  }
  func up(_ rows: Int, _ ffn: FeedForwardDescription.DenseFeedForward) -> Matrix? {
    ffn.third.map { up.rows(0..<rows).columns(0..<$0.rows) }
  }
}

/// Queries, keys and values beside each other.
struct Parts {
  let all: Matrix
  let q: Matrix
  let k: Matrix
  let v: Matrix

  init(_ matrix: Matrix, _ shape: AttentionShape) {
    let (queries, keys) = (shape.queryColumns, shape.keyColumns)
    all = matrix.columns(0..<queries + 2 * keys)
    q = all.columns(0..<queries)
    k = all.columns(queries..<queries + keys)
    v = all.columns(queries + keys..<queries + 2 * keys)
  }
}

/// Keys and values beside each other.
struct KeysValues {
  let all: Matrix
  let k: Matrix
  let v: Matrix

  init(_ matrix: Matrix, _ shape: AttentionShape) {
    let keys = shape.keyColumns
    all = matrix.columns(0..<2 * keys)
    k = all.columns(0..<keys)
    v = all.columns(keys..<2 * keys)
  }

  init(_ tape: AttentionTape, _ shape: AttentionShape) {
    guard let memory = tape.memory else { preconditionFailure("cross-attention has a memory") }
    self.init(memory, shape)
  }
}

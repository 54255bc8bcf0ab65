import Kernels
import Layers

/// The sublayers that every token passes with the same weights: attention, cross-attention and the
/// dense FFN. Each runs micro-batch by micro-batch, so scratch is bounded by one of them.
extension ZcodeModel {
  /// The attentions of `layer`, and its FFN if that is dense, for all micro-batches.
  package func attendForward(_ layer: ZcodeLayer) {
    let first = firstBoundary(layer)
    for microBatch in batch.side(layer.side).microBatches.indices {
      selfAttentionForward(layer, microBatch, first)
      if let cross = layer.crossAttention {
        crossAttentionForward(cross, microBatch, first + 1)
      }
      if case .dense(let w1, let w2) = layer.feedForward {
        feedForwardForward(layer, w1, w2, microBatch, last(layer) - 1)
      }
    }
  }

  /// The same in reverse: from the gradient of the layer's output to that of its input, in place.
  package func attendBackward(_ layer: ZcodeLayer) {
    let first = firstBoundary(layer)
    for microBatch in batch.side(layer.side).microBatches.indices {
      if case .dense(let w1, let w2) = layer.feedForward {
        feedForwardBackward(layer, w1, w2, microBatch, last(layer) - 1)
      }
      if let cross = layer.crossAttention {
        crossAttentionBackward(cross, microBatch, first + 1)
      }
      selfAttentionBackward(layer, microBatch, first)
    }
  }

  /// The boundary that enters `layer`, and the one that leaves it.
  func firstBoundary(_ layer: ZcodeLayer) -> Int { layer.index * sublayers(layer.side) }
  func last(_ layer: ZcodeLayer) -> Int { (layer.index + 1) * sublayers(layer.side) }
  private func sublayers(_ side: Side) -> Int { side == .encoder ? 2 : 3 }

  // MARK: Self-attention

  private func selfAttentionForward(_ layer: ZcodeLayer, _ microBatch: Int, _ index: Int) {
    let (x, y, spans) = sublayer(layer.side, index, microBatch)
    y.copy(from: x)
    let context = selfAttentionContext(layer, x, spans)
    matmul(
      context, weights(layer.selfAttention.output), transposeB: true, into: y, accumulate: true,
      on: workers)
  }

  /// norm -> queries, keys, values -> context, left in the scratch; returns the context.
  private func selfAttentionContext(
    _ layer: ZcodeLayer, _ x: Matrix, _ spans: [AttentionSpan]
  ) -> Matrix {
    let d = shape.width
    let (h, qkv) = (scratch.normed.rows(0..<x.rows), scratch.qkv.rows(0..<x.rows))
    let context = scratch.context.rows(0..<x.rows)
    norm(layer.selfAttention.norm, x, into: h)
    matmul(h, weights(layer.selfAttention.input), transposeB: true, into: qkv, on: workers)
    attention.forward(
      qkv.columns(0..<d), qkv.columns(d..<2 * d), qkv.columns(2 * d..<3 * d),
      spans: spans, isCausal: layer.side == .decoder, into: context)
    return context
  }

  private func selfAttentionBackward(_ layer: ZcodeLayer, _ microBatch: Int, _ index: Int) {
    let d = shape.width
    let slots = layer.selfAttention
    let (x, _, spans) = sublayer(layer.side, index, microBatch)
    let dy = activations.dx.rows(batch.side(layer.side).microBatches[microBatch])
    let context = selfAttentionContext(layer, x, spans)
    let (h, dh) = (scratch.normed.rows(0..<x.rows), scratch.dNormed.rows(0..<x.rows))
    let (qkv, dqkv) = (scratch.qkv.rows(0..<x.rows), scratch.dqkv.rows(0..<x.rows))
    let dContext = scratch.dContext.rows(0..<x.rows)
    matmul(
      dy, context, transposeA: true, into: gradient(slots.output), accumulate: true, on: workers)
    matmul(dy, weights(slots.output), into: dContext, on: workers)
    attention.backward(
      qkv.columns(0..<d), qkv.columns(d..<2 * d), qkv.columns(2 * d..<3 * d),
      spans: spans, isCausal: layer.side == .decoder, dcontext: dContext,
      dq: dqkv.columns(0..<d), dk: dqkv.columns(d..<2 * d),
      dv: dqkv.columns(2 * d..<3 * d))
    matmul(dqkv, h, transposeA: true, into: gradient(slots.input), accumulate: true, on: workers)
    matmul(dqkv, weights(slots.input), into: dh, on: workers)
    normBackward(slots.norm, x, dh, into: dy)
  }

  // MARK: Cross-attention

  private func crossAttentionForward(_ slots: AttentionSlots, _ microBatch: Int, _ index: Int) {
    let (x, y, _) = sublayer(.decoder, index, microBatch)
    y.copy(from: x)
    let context = crossAttentionContext(slots, x, microBatch)
    matmul(
      context, weights(slots.output), transposeB: true, into: y, accumulate: true, on: workers)
  }

  private func crossAttentionContext(
    _ slots: AttentionSlots, _ x: Matrix, _ microBatch: Int
  ) -> Matrix {
    let d = shape.width
    let memory = memoryRows(microBatch)
    let (h, q) = (scratch.normed.rows(0..<x.rows), scratch.qkv.rows(0..<x.rows).columns(0..<d))
    let (kv, context) = (scratch.keysValues.rows(0..<memory.rows), scratch.context.rows(0..<x.rows))
    norm(slots.norm, x, into: h)
    matmul(h, weights(slots.input), transposeB: true, into: q, on: workers)
    matmul(memory, weights(memorySlot(slots)), transposeB: true, into: kv, on: workers)
    attention.forward(
      q, kv.columns(0..<d), kv.columns(d..<2 * d),
      spans: crossSpans(microBatch), isCausal: false, into: context)
    return context
  }

  private func crossAttentionBackward(_ slots: AttentionSlots, _ microBatch: Int, _ index: Int) {
    let d = shape.width
    let (x, _, _) = sublayer(.decoder, index, microBatch)
    let dy = activations.dx.rows(batch.target.microBatches[microBatch])
    let context = crossAttentionContext(slots, x, microBatch)
    let memory = memoryRows(microBatch)
    let (h, dh) = (scratch.normed.rows(0..<x.rows), scratch.dNormed.rows(0..<x.rows))
    let (q, dq) = (
      scratch.qkv.rows(0..<x.rows).columns(0..<d), scratch.dqkv.rows(0..<x.rows).columns(0..<d)
    )
    let (kv, dkv) = (
      scratch.keysValues.rows(0..<memory.rows), scratch.dKeysValues.rows(0..<memory.rows)
    )
    let dContext = scratch.dContext.rows(0..<x.rows)
    matmul(
      dy, context, transposeA: true, into: gradient(slots.output), accumulate: true, on: workers)
    matmul(dy, weights(slots.output), into: dContext, on: workers)
    attention.backward(
      q, kv.columns(0..<d), kv.columns(d..<2 * d),
      spans: crossSpans(microBatch), isCausal: false, dcontext: dContext, dq: dq,
      dk: dkv.columns(0..<d), dv: dkv.columns(d..<2 * d))
    matmul(dq, h, transposeA: true, into: gradient(slots.input), accumulate: true, on: workers)
    matmul(dq, weights(slots.input), into: dh, on: workers)
    normBackward(slots.norm, x, dh, into: dy)
    let memorySlot = memorySlot(slots)
    matmul(dkv, memory, transposeA: true, into: gradient(memorySlot), accumulate: true, on: workers)
    matmul(
      dkv, weights(memorySlot),
      into: activations.dMemory.rows(batch.source.microBatches[microBatch]), accumulate: true,
      on: workers)
  }

  // MARK: Dense FFN

  func feedForwardForward(
    _ layer: ZcodeLayer, _ w1: TensorSlot, _ w2: TensorSlot, _ microBatch: Int, _ index: Int
  ) {
    let (x, y, _) = sublayer(layer.side, index, microBatch)
    let h = scratch.normed.rows(0..<x.rows)
    norm(layer.feedForwardNorm, x, into: h)
    y.copy(from: x)
    FeedForward(w1: weights(w1), w2: weights(w2)).forward(
      h, hidden: scratch.hidden.rows(0..<x.rows), into: y, accumulate: true, on: workers)
  }

  private func feedForwardBackward(
    _ layer: ZcodeLayer, _ w1: TensorSlot, _ w2: TensorSlot, _ microBatch: Int, _ index: Int
  ) {
    let (x, _, _) = sublayer(layer.side, index, microBatch)
    let dy = activations.dx.rows(batch.side(layer.side).microBatches[microBatch])
    let (h, dh) = (scratch.normed.rows(0..<x.rows), scratch.dNormed.rows(0..<x.rows))
    norm(layer.feedForwardNorm, x, into: h)
    FeedForward(w1: weights(w1), w2: weights(w2)).backward(
      h, dy: dy, combine: nil,
      hidden: scratch.hidden.rows(0..<x.rows), dhidden: scratch.dHidden.rows(0..<x.rows),
      into: FeedForward.Gradients(
        dh: dh, dw1: gradient(w1), dw2: gradient(w2), accumulateInput: false,
        accumulateWeights: true),
      on: workers)
    normBackward(layer.feedForwardNorm, x, dh, into: dy)
  }

  // MARK: Views of one micro-batch

  /// Input, output and self-attention spans of one micro-batch at boundary `index`.
  private func sublayer(
    _ side: Side, _ index: Int, _ microBatch: Int
  ) -> (x: Matrix, y: Matrix, spans: [AttentionSpan]) {
    let packed = batch.side(side)
    let rows = packed.microBatches[microBatch]
    let boundaries = activations.boundaries(side)
    let spans = sequences(packed, microBatch).map { AttentionSpan(queries: $0, keys: $0) }
    return (boundaries[index].rows(rows), boundaries[index + 1].rows(rows), spans)
  }

  /// Target sequences look at their source sequences.
  private func crossSpans(_ microBatch: Int) -> [AttentionSpan] {
    zip(sequences(batch.target, microBatch), sequences(batch.source, microBatch)).map {
      AttentionSpan(queries: $0, keys: $1)
    }
  }

  /// The sequences of a micro-batch, counted from its first row.
  private func sequences(_ side: PackedSide, _ microBatch: Int) -> [Range<Int>] {
    let start = side.microBatches[microBatch].lowerBound
    return side.sequences[side.sequencesOfMicroBatch[microBatch]].map {
      $0.lowerBound - start..<$0.upperBound - start
    }
  }

  private func memoryRows(_ microBatch: Int) -> Matrix {
    activations.memory.rows(batch.source.microBatches[microBatch])
  }

  private func memorySlot(_ slots: AttentionSlots) -> TensorSlot {
    guard let memory = slots.memory else { preconditionFailure("cross-attention has a memory") }
    return memory
  }

  private var scratch: AttentionScratch { activations.scratch }
}

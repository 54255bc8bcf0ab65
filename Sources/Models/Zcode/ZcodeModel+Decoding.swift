import Kernels
import Layers

/// Keys and values of every decoder layer while sentences are generated token by token.
///
///     self:   one row for each sentence and position, [sentences * positions, 2 width]
///     cross:  one row for each source token, [source rows, 2 width]
package final class DecodingCache: Sendable {
  package let sentences: Int
  package let positions: Int
  let own: [Matrix]
  let cross: [Matrix]

  package init(_ shape: ZcodeShape, sentences: Int, positions: Int, sourceRows: Int) {
    self.sentences = sentences
    self.positions = positions
    own = (0..<shape.decoderLayers).map { _ in
      Matrix(rows: sentences * positions, columns: 2 * shape.width)
    }
    cross = (0..<shape.decoderLayers).map { _ in
      Matrix(rows: sourceRows, columns: 2 * shape.width)
    }
  }

  package static func byteCount(
    _ shape: ZcodeShape, sentences: Int, positions: Int, sourceRows: Int
  ) -> Int {
    shape.decoderLayers * (sentences * positions + sourceRows) * 2 * shape.width
      * MemoryLayout<Float>.stride
  }
}

/// Generation: one target token a sentence at a time. The encoder and the experts run as in
/// training; the attentions of the decoder look into the cache.
extension ZcodeModel {
  /// After the encoder: the keys and values that every cross-attention will look at.
  package func startDecoding(_ cache: DecodingCache) {
    encoderToDecoder()
    for layer in description.decoder {
      guard let memorySlot = layer.crossAttention?.memory else { continue }
      matmul(
        memory, weights(memorySlot), transposeB: true,
        into: cache.cross[layer.index].rows(0..<memory.rows), on: workers)
    }
  }

  /// Enters the token at `position` of each sentence of `active`, in that order.
  package func embedStep(_ tokens: [Int32], position: Int) {
    let rows = tokens.indices.map { $0..<$0 + 1 }
    setTarget(tokens, sequences: rows)
    embedding.forward(
      tokens, table: weights(description.embedding), sequences: rows, start: position,
      into: boundary(.decoder, 0), on: workers)
  }

  /// The attentions and the dense FFN of `layer` for one position.
  package func attendStep(
    _ layer: ZcodeLayer, active: [Int], position: Int, _ cache: DecodingCache
  ) {
    let first = firstBoundary(layer)
    selfAttentionStep(layer, active, position, cache, first)
    crossAttentionStep(layer, active, cache, first + 1)
    if case .dense(let w1, let w2) = layer.feedForward {
      feedForwardForward(layer, w1, w2, 0, last(layer) - 1)
    }
  }

  /// The likeliest next token of each sentence.
  package func nextTokens() -> [Int32] {
    let z = rows(activations.normed, .decoder)
    norm(description.decoderNorm, boundary(.decoder, 3 * shape.decoderLayers), into: z)
    return head.argMax(z, embedding: weights(description.embedding), on: workers)
  }

  private func selfAttentionStep(
    _ layer: ZcodeLayer, _ active: [Int], _ position: Int, _ cache: DecodingCache, _ index: Int
  ) {
    let d = shape.width
    let slots = layer.selfAttention
    let (x, y) = (boundary(.decoder, index), boundary(.decoder, index + 1))
    let h = activations.scratch.normed.rows(0..<x.rows)
    let qkv = activations.scratch.qkv.rows(0..<x.rows)
    let context = activations.scratch.context.rows(0..<x.rows)
    norm(slots.norm, x, into: h)
    matmul(h, weights(slots.input), transposeB: true, into: qkv, on: workers)
    let cached = cache.own[layer.index]
    for (row, sentence) in active.enumerated() {
      let place = sentence * cache.positions + position
      cached.rows(place..<place + 1).copy(from: qkv.rows(row..<row + 1).columns(d..<3 * d))
    }
    let spans = active.enumerated().map { row, sentence in
      let start = sentence * cache.positions
      return AttentionSpan(queries: row..<row + 1, keys: start..<start + position + 1)
    }
    attention.forward(
      qkv.columns(0..<d), cached.columns(0..<d), cached.columns(d..<2 * d), spans: spans,
      isCausal: false, into: context)
    y.copy(from: x)
    matmul(
      context, weights(slots.output), transposeB: true, into: y, accumulate: true, on: workers)
  }

  private func crossAttentionStep(
    _ layer: ZcodeLayer, _ active: [Int], _ cache: DecodingCache, _ index: Int
  ) {
    guard let slots = layer.crossAttention else { return }
    let d = shape.width
    let (x, y) = (boundary(.decoder, index), boundary(.decoder, index + 1))
    let h = activations.scratch.normed.rows(0..<x.rows)
    let q = activations.scratch.qkv.rows(0..<x.rows).columns(0..<d)
    let context = activations.scratch.context.rows(0..<x.rows)
    norm(slots.norm, x, into: h)
    matmul(h, weights(slots.input), transposeB: true, into: q, on: workers)
    let spans = active.enumerated().map { row, sentence in
      AttentionSpan(queries: row..<row + 1, keys: batch.source.sequences[sentence])
    }
    let cached = cache.cross[layer.index]
    attention.forward(
      q, cached.columns(0..<d), cached.columns(d..<2 * d), spans: spans, isCausal: false,
      into: context)
    y.copy(from: x)
    matmul(
      context, weights(slots.output), transposeB: true, into: y, accumulate: true, on: workers)
  }
}

import Kernels
import Layers

/// Keys and values of every decoder layer while sentences are generated token by token.
///
///     self:   one row for each sentence and position, [sentences * positions, keys and values]
///     cross:  one row for each source token, [source rows, keys and values]
package final class DecodingCache: Sendable {
  package let sentences: Int
  package let positions: Int
  let own: [Matrix]
  let cross: [Matrix]

  package init(_ model: ModelDescription, sentences: Int, positions: Int, sourceRows: Int) {
    self.sentences = sentences
    self.positions = positions
    own = model.decoder.layers.map {
      Matrix(rows: sentences * positions, columns: 2 * $0.selfAttention.shape.keyColumns)
    }
    cross = model.decoder.layers.compactMap(\.crossAttention).map {
      Matrix(rows: sourceRows, columns: 2 * $0.shape.keyColumns)
    }
  }

  package static func byteCount(
    _ model: ModelDescription, sentences: Int, positions: Int, sourceRows: Int
  ) -> Int {
    let floats = model.decoder.layers.reduce(0) { sum, layer in
      sum + sentences * positions * 2 * layer.selfAttention.shape.keyColumns
        + sourceRows * 2 * (layer.crossAttention?.shape.keyColumns ?? 0)
    }
    return floats * MemoryLayout<Float>.stride
  }
}

/// Generation: one target token a sentence at a time. The encoder and the experts run as in
/// training; the attentions of the decoder look into the cache.
extension Transformer {
  /// After the encoder: the keys and values that every cross-attention will look at.
  package func startDecoding(_ cache: DecodingCache) {
    encoderToDecoder()
    for layer in description.decoder.layers {
      guard let cross = layer.crossAttention else { continue }
      project(
        memory, memoryProjection(cross), into: cache.cross[layer.index].rows(0..<memory.rows))
    }
  }

  /// Enters the token at `position` of each sentence of `active`, in that order.
  package func embedStep(_ tokens: [Int32], position: Int) {
    let rows = tokens.indices.map { $0..<$0 + 1 }
    setTarget(tokens, sequences: rows)
    embedding.forward(
      tokens, table: weights(description.embedding.table), sequences: rows, start: position,
      into: boundary(.decoder, 0), on: workers)
  }

  /// The attentions and the dense FFN of `layer` for one position.
  package func attendStep(
    _ layer: LayerDescription, active: [Int], position: Int, _ cache: DecodingCache
  ) {
    let first = firstBoundary(layer)
    selfAttentionStep(layer, active, position, cache, first)
    if let cross = layer.crossAttention {
      crossAttentionStep(cross, cache.cross[layer.index], active, first + 1)
    }
    if case .dense(let ffn) = layer.feedForward {
      feedForwardForward(layer, ffn, 0, last(layer) - 1)
    }
  }

  /// The likeliest next token of each sentence.
  package func nextTokens() -> [Int32] {
    let z = rows(activations.normed, .decoder)
    norm(description.decoder.finalNorm, top(.decoder), into: z)
    return head.argMax(z, embedding: weights(description.head.weight), on: workers)
  }

  private func selfAttentionStep(
    _ layer: LayerDescription, _ active: [Int], _ place: Int, _ cache: DecodingCache, _ index: Int
  ) {
    let slots = layer.selfAttention
    let (x, y) = (boundary(.decoder, index), boundary(.decoder, index + 1))
    let h = scratch.normed.rows(0..<x.rows)
    let parts = Parts(scratch.qkv, x.rows, slots.shape)
    let context = scratch.context(x.rows, slots.shape)
    norm(slots.norm, x, into: h)
    project(h, slots.input, into: parts.all)
    position(parts, slots, active.indices.map { $0..<$0 + 1 }, start: place)
    let cached = KeysValues(cache.own[layer.index], cache.own[layer.index].rows, slots.shape)
    for (row, sentence) in active.enumerated() {
      let target = sentence * cache.positions + place
      cached.k.rows(target..<target + 1).copy(from: parts.k.rows(row..<row + 1))
      cached.v.rows(target..<target + 1).copy(from: parts.v.rows(row..<row + 1))
    }
    let spans = active.enumerated().map { row, sentence in
      let start = sentence * cache.positions
      return AttentionSpan(queries: row..<row + 1, keys: start..<start + place + 1)
    }
    attention(slots).forward(
      parts.q, cached.k, cached.v, spans: spans, isCausal: true, bias: positionBias(.decoder),
      into: context)
    y.copy(from: x)
    addProjected(context, slots.output, to: y)
  }

  private func crossAttentionStep(
    _ slots: AttentionDescription, _ cached: Matrix, _ active: [Int], _ index: Int
  ) {
    let (x, y) = (boundary(.decoder, index), boundary(.decoder, index + 1))
    let h = scratch.normed.rows(0..<x.rows)
    let q = scratch.qkv.rows(0..<x.rows).columns(0..<slots.shape.queryColumns)
    let context = scratch.context(x.rows, slots.shape)
    norm(slots.norm, x, into: h)
    project(h, slots.input, into: q)
    let spans = active.enumerated().map { row, sentence in
      AttentionSpan(queries: row..<row + 1, keys: batch.source.keys[sentence])
    }
    let kv = KeysValues(cached, cached.rows, slots.shape)
    attention(slots).forward(q, kv.k, kv.v, spans: spans, isCausal: false, into: context)
    y.copy(from: x)
    addProjected(context, slots.output, to: y)
  }
}

import Kernels
package import Layers

/// What makes of two rotary embeddings one.
package struct RotaryKey: Hashable, Sendable {
  package let headWidth: Int
  package let positions: RotaryPositions
}

/// What queries and keys are told of their positions, and their norms before that.
extension Transformer {
  static func rotaryKeys(_ description: ModelDescription) -> Set<RotaryKey> {
    Set(
      description.attentions.compactMap { slots in
        slots.rotary.map { RotaryKey(headWidth: slots.shape.headWidth, positions: $0) }
      })
  }

  static func rotaries(
    _ description: ModelDescription, _ limits: BatchLimits
  ) -> [RotaryKey: RotaryEmbedding] {
    var made: [RotaryKey: RotaryEmbedding] = [:]
    for key in rotaryKeys(description) {
      made[key] = RotaryEmbedding(
        headWidth: key.headWidth, positionsMax: limits.sequenceRows, key.positions)
    }
    return made
  }

  static func positionBiases(
    _ description: ModelDescription, _ limits: BatchLimits
  ) -> [Side: RelativePositionBias] {
    var made: [Side: RelativePositionBias] = [:]
    for side in description.sides {
      guard let bias = description.stack(side)?.positionBias else { continue }
      made[side] = RelativePositionBias(
        heads: bias.table.columns, buckets: bias.table.rows,
        distanceOfLastBucket: bias.maxDistance, isBidirectional: bias.isBidirectional,
        keysMax: limits.sequenceRows)
    }
    return made
  }

  /// Bytes of both.
  static func positionByteCount(_ description: ModelDescription, _ limits: BatchLimits) -> Int {
    let rotary = rotaryKeys(description).reduce(0) {
      $0 + RotaryEmbedding.byteCount(headWidth: $1.headWidth, positionsMax: limits.sequenceRows)
    }
    return description.sides.reduce(rotary) { sum, side in
      guard let bias = description.stack(side)?.positionBias else { return sum }
      return sum
        + RelativePositionBias.byteCount(heads: bias.table.columns, keysMax: limits.sequenceRows)
    }
  }

  private func rotary(_ slots: AttentionDescription) -> RotaryEmbedding? {
    slots.rotary.flatMap {
      rotaries[RotaryKey(headWidth: slots.shape.headWidth, positions: $0)]
    }
  }

  /// Norms queries and keys, clips them and the values, and rotates queries and keys, in place.
  /// - Parameter starts: the position of the first row of each sequence; 0 if not given.
  func position(
    _ parts: Parts, _ slots: AttentionDescription, _ sequences: [Range<Int>],
    starts: [Int]? = nil
  ) {
    if let queryNorm = slots.queryNorm { norm(queryNorm, parts.q, into: parts.q) }
    if let keyNorm = slots.keyNorm { norm(keyNorm, parts.k, into: parts.k) }
    if let limit = slots.clip { clip(parts.all, to: limit, on: workers) }
    guard let rotary = rotary(slots) else { return }
    for part in [parts.q, parts.k] {
      rotary.forward(part, sequences: sequences, starts: starts, on: workers)
    }
  }

  /// The gradients of queries, keys and values as the projection gave them, in place.
  /// - Parameter raw: what the projection gave.
  func positionBackward(
    _ gradients: Parts, _ slots: AttentionDescription, _ raw: Matrix?, _ sequences: [Range<Int>]
  ) {
    if let rotary = rotary(slots) {
      for part in [gradients.q, gradients.k] {
        rotary.backward(part, sequences: sequences, on: workers)
      }
    }
    guard let raw else { return }
    let before = Parts(raw, slots.shape)
    let dBefore = Parts(scratch.dRaw.rows(0..<raw.rows), slots.shape)
    if let limit = slots.clip {
      // What was clipped, once more.
      dBefore.all.copy(from: before.all)
      if let queryNorm = slots.queryNorm { norm(queryNorm, before.q, into: dBefore.q) }
      if let keyNorm = slots.keyNorm { norm(keyNorm, before.k, into: dBefore.k) }
      clipBackward(dBefore.all, to: limit, gradients.all, on: workers)
    }
    for (norm, before, dBefore, gradient) in [
      (slots.queryNorm, before.q, dBefore.q, gradients.q),
      (slots.keyNorm, before.k, dBefore.k, gradients.k),
    ] {
      guard let norm else { continue }
      normBackward(norm, before, gradient, into: dBefore, accumulate: false)
      gradient.copy(from: dBefore)
    }
  }

  /// What all self-attentions of a side add to their scores.
  func positionBias(_ side: Side) -> RelativePositionBias? { positionBiases[side] }

  func positionBiasGradient(_ side: Side) -> Matrix? {
    description.stack(side)?.positionBias.map { gradient($0.table) }
  }
}

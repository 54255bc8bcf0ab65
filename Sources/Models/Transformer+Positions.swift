import Kernels
import Layers

/// What makes of two rotary embeddings one.
package struct RotaryKey: Hashable, Sendable {
  package let headWidth: Int
  package let base: Double
}

/// What queries and keys are told of their positions, and their norms before that.
extension Transformer {
  static func rotaryKeys(_ description: ModelDescription) -> Set<RotaryKey> {
    Set(
      description.attentions.compactMap { slots in
        slots.rotaryBase.map { RotaryKey(headWidth: slots.shape.headWidth, base: $0) }
      })
  }

  static func rotaries(
    _ description: ModelDescription, _ limits: BatchLimits
  ) -> [RotaryKey: RotaryEmbedding] {
    var made: [RotaryKey: RotaryEmbedding] = [:]
    for key in rotaryKeys(description) {
      made[key] = RotaryEmbedding(
        headWidth: key.headWidth, positionsMax: limits.sequenceRows, theta: key.base)
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
    slots.rotaryBase.flatMap {
      rotaries[RotaryKey(headWidth: slots.shape.headWidth, base: $0)]
    }
  }

  /// Before `position` changes queries and keys in place: the backward sweep needs them.
  func keepRaw(_ parts: Parts, _ slots: AttentionDescription) {
    guard slots.queryNorm != nil, dense.isTraining else { return }
    raw(scratch.raw, parts, slots).copy(from: parts.qk)
  }

  /// Norms and rotates queries and keys in place.
  /// - Parameter starts: the position of the first row of each sequence; 0 if not given.
  func position(
    _ parts: Parts, _ slots: AttentionDescription, _ sequences: [Range<Int>],
    starts: [Int]? = nil
  ) {
    if let queryNorm = slots.queryNorm { norm(queryNorm, parts.q, into: parts.q) }
    if let keyNorm = slots.keyNorm { norm(keyNorm, parts.k, into: parts.k) }
    guard let rotary = rotary(slots) else { return }
    for part in [parts.q, parts.k] {
      rotary.forward(part, sequences: sequences, starts: starts, on: workers)
    }
  }

  /// The gradients of queries and keys as the projection gave them, in place.
  func positionBackward(
    _ gradients: Parts, _ slots: AttentionDescription, _ sequences: [Range<Int>]
  ) {
    if let rotary = rotary(slots) {
      for part in [gradients.q, gradients.k] {
        rotary.backward(part, sequences: sequences, on: workers)
      }
    }
    guard let queryNorm = slots.queryNorm, let keyNorm = slots.keyNorm else { return }
    let before = Parts(qk: raw(scratch.raw, gradients, slots), slots.shape)
    let dBefore = Parts(qk: raw(scratch.dRaw, gradients, slots), slots.shape)
    normBackward(queryNorm, before.q, gradients.q, into: dBefore.q, accumulate: false)
    normBackward(keyNorm, before.k, gradients.k, into: dBefore.k, accumulate: false)
    gradients.qk.copy(from: dBefore.qk)
  }

  private func raw(_ matrix: Matrix, _ parts: Parts, _ slots: AttentionDescription) -> Matrix {
    matrix.rows(0..<parts.all.rows).columns(0..<parts.qk.columns)
  }

  /// What all self-attentions of a side add to their scores.
  func positionBias(_ side: Side) -> RelativePositionBias? { positionBiases[side] }

  func positionBiasGradient(_ side: Side) -> Matrix? {
    description.stack(side)?.positionBias.map { gradient($0.table) }
  }
}

extension Parts {
  /// Queries and keys alone.
  init(qk: Matrix, _ shape: AttentionShape) {
    let (queries, keys) = (shape.queryColumns, shape.keyColumns)
    (all, self.qk) = (qk, qk)
    q = qk.columns(0..<queries)
    k = qk.columns(queries..<queries + keys)
    v = qk.columns(0..<0)
  }
}

import Base

/// Which tokens an expert keeps when more chose it than it has room for.
package enum TokenSelection: String, Sendable, CaseIterable {
  /// Random token selection: the same chance for every position (Kim et al., "Scalable and
  /// efficient MoE training for multitask multilingual models", 2021).
  case random
  /// The first in token order: starves late positions; for comparison.
  case first
}

/// What names a micro-batch: everything random in the gate is a function of the seed, this, and the
/// token, so forward, recomputation and resume agree.
package struct GateKey: Hashable, Sendable {
  package let step: Int
  package let layer: Int
  package let microBatch: Int

  package init(step: Int, layer: Int, microBatch: Int) {
    precondition(step >= 0 && step < 1 << 32, "a step fits 32 bits")
    precondition(layer >= 0 && layer < 1 << 16, "a layer fits 16 bits")
    precondition(microBatch >= 0 && microBatch < 1 << 16, "a micro-batch fits 16 bits")
    (self.step, self.layer, self.microBatch) = (step, layer, microBatch)
  }

  var words: (UInt32, UInt32) { (UInt32(step), UInt32(layer << 16 | microBatch)) }
}

extension TokenSelection {
  /// Which tokens keep their choice if every expert takes at most `capacity`.
  ///
  /// An expert keeps the `capacity` tokens of highest priority, the lower token first among equals.
  /// The priority of a token is one random word, or falls with its position.
  func keep(
    choice: [Int32], counts: [Int], capacity: Int, stream: Philox, key: GateKey
  ) -> [Bool] {
    var kept = choice.map { counts[Int($0)] <= capacity }
    let (step, batch) = key.words
    for expert in counts.indices where counts[expert] > capacity {
      let candidates = choice.indices.filter { choice[$0] == Int32(expert) }
      switch self {
      case .first:
        for token in candidates.prefix(capacity) { kept[token] = true }
      case .random:
        let drawn = candidates.map {
          (priority: stream.words(step, batch, UInt32($0)).x, token: $0)
        }
        let ordered = drawn.sorted {
          $0.priority != $1.priority ? $0.priority > $1.priority : $0.token < $1.token
        }
        for (_, token) in ordered.prefix(capacity) { kept[token] = true }
      }
    }
    return kept
  }
}

import Base

/// Which tokens an expert keeps when more chose it than it has room for.
package enum TokenSelection: String, Sendable, CaseIterable {
  /// Random token selection: the same chance for every position (Kim et al., "Scalable and
  /// efficient MoE training for multitask multilingual models", 2021).
  case random
  /// The first in token order: starves late positions; for comparison.
  case first
  /// Those whose likeliest expert is the likeliest (Riquelme et al., "Scaling vision with sparse
  /// mixture of experts", 2021).
  case priority
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

extension Philox {
  /// A token's turn under random token selection: the largest is first.
  func priority(of token: Int, _ key: GateKey) -> UInt32 {
    let (step, batch) = key.words
    return words(step, batch, UInt32(token)).x
  }
}

extension TokenSelection {
  /// Which tokens keep their choice if every expert takes at most `capacity`.
  ///
  /// An expert keeps the `capacity` tokens of highest priority, the lower token first among equals.
  /// The priority of a token is one random word, its choice's probability, or falls with its
  /// position.
  func keep(
    choice: [Int32], probability: [Float], counts: [Int], capacity: Int, stream: Philox,
    key: GateKey
  ) -> [Bool] {
    var kept = choice.map { counts[Int($0)] <= capacity }
    for expert in counts.indices where counts[expert] > capacity {
      let candidates = choice.indices.filter { choice[$0] == Int32(expert) }
      let ordered: [Int]
      switch self {
      case .first: ordered = candidates
      case .random: ordered = Self.ordered(candidates) { stream.priority(of: $0, key) }
      case .priority: ordered = Self.ordered(candidates) { probability[$0] }
      }
      for token in ordered.prefix(capacity) { kept[token] = true }
    }
    return kept
  }

  private static func ordered<Priority: Comparable>(
    _ tokens: [Int], by priority: (Int) -> Priority
  ) -> [Int] {
    tokens.map { (priority: priority($0), token: $0) }
      .sorted { $0.priority != $1.priority ? $0.priority > $1.priority : $0.token < $1.token }
      .map(\.token)
  }
}

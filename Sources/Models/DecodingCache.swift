import Kernels

/// Keys and values of every decoder layer while sequences are generated token by token, for some
/// sequences at once with some beams each. A slot holds what one beam has entered so far; slots of
/// a sequence lie together.
///
///     self:   a row for each slot and position, [sequences * beams * positions, keys and values]
///     cross:  a row for each source token, [source rows, keys and values]
package final class DecodingCache {
  /// What the cache is large enough for.
  package struct Limits: Sendable, Equatable {
    package let sequences: Int
    package let beams: Int
    /// Tokens of the longest sequence, its prompt included.
    package let positions: Int
    /// Tokens of all sources together.
    package let sourceRows: Int

    package init(sequences: Int, beams: Int = 1, positions: Int, sourceRows: Int) {
      precondition(sequences > 0 && beams > 0 && positions > 0, "something to generate")
      (self.sequences, self.beams) = (sequences, beams)
      (self.positions, self.sourceRows) = (positions, sourceRows)
    }

    var slots: Int { sequences * beams }
  }

  package let limits: Limits
  let own: [Matrix]
  let cross: [Matrix]
  /// By slot, of each position it holds: where its row was computed. Rows of one origin are equal.
  private var origins: [[Int]]
  private var nextOrigin = 0

  package init(_ model: ModelDescription, _ limits: Limits) {
    self.limits = limits
    own = model.decoder.layers.map {
      Matrix(rows: limits.slots * limits.positions, columns: 2 * $0.selfAttention.shape.keyColumns)
    }
    cross = model.decoder.layers.compactMap(\.crossAttention).map {
      Matrix(rows: limits.sourceRows, columns: 2 * $0.shape.keyColumns)
    }
    origins = Array(repeating: [], count: limits.slots)
  }

  /// Bytes of keys and values, for the memory ledger.
  package static func byteCount(_ model: ModelDescription, _ limits: Limits) -> Int {
    let floats = model.decoder.layers.reduce(0) { sum, layer in
      sum + limits.slots * limits.positions * 2 * layer.selfAttention.shape.keyColumns
        + limits.sourceRows * 2 * (layer.crossAttention?.shape.keyColumns ?? 0)
    }
    return floats * MemoryLayout<Float>.stride
  }

  /// The slots of a sequence, its first beam first.
  package func slots(of sequence: Int) -> Range<Int> {
    sequence * limits.beams..<(sequence + 1) * limits.beams
  }
  func sequence(of slot: Int) -> Int { slot / limits.beams }

  /// Positions that a slot holds.
  package func length(of slot: Int) -> Int { origins[slot].count }

  /// All slots are empty again.
  package func clear() { origins = Array(repeating: [], count: limits.slots) }

  /// The rows of the next `count` positions of `slot`, which it holds from now on.
  func extend(_ slot: Int, by count: Int) -> Range<Int> {
    let start = origins[slot].count
    precondition(start + count <= limits.positions, "a sequence within the limits given at init")
    origins[slot] += nextOrigin..<nextOrigin + count
    nextOrigin += count
    return slot * limits.positions + start..<slot * limits.positions + start + count
  }

  /// The rows that a slot holds.
  func rows(of slot: Int) -> Range<Int> {
    slot * limits.positions..<slot * limits.positions + origins[slot].count
  }

  /// Gives each of the beams of `sequence` that go on a slot that holds what its parent holds:
  /// parents[i] is the slot that beam i continues. A parent's first child stays where it is; the
  /// others take slots without children, and only rows that differ are copied: beams that have a
  /// past in common share it already.
  /// - Returns: the slot of each beam.
  package func branch(_ sequence: Int, from parents: [Int]) -> [Int] {
    precondition(parents.count <= limits.beams, "a slot for each beam")
    var free = Array(slots(of: sequence).filter { !parents.contains($0) }.reversed())
    var taken: Set<Int> = []
    return parents.map { parent in
      if taken.insert(parent).inserted { return parent }
      let slot = free.removeLast()
      copy(parent, to: slot)
      return slot
    }
  }

  private func copy(_ parent: Int, to slot: Int) {
    let shared = zip(origins[parent], origins[slot]).prefix { $0 == $1 }.count
    let (from, to) = (parent * limits.positions, slot * limits.positions)
    let different = shared..<origins[parent].count
    for matrix in own {
      matrix.rows(to + different.lowerBound..<to + different.upperBound)
        .copy(from: matrix.rows(from + different.lowerBound..<from + different.upperBound))
    }
    origins[slot] = origins[parent]
  }
}

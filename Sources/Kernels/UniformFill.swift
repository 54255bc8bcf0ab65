package import Base

/// The initial weights of a block: weight i is uniform in [-bound, bound) and a function of (seed,
/// block, i) alone, so any part of a block can be made at any time, on any thread, and be the same.
///
/// Weights come in groups of four, the four words of one Philox counter (block, group).
package struct UniformFill: Sendable {
  package let bound: Float
  private let stream: Philox
  private let batch: PhiloxBatch
  /// The block: the two words of its `BlockID.rawValue`.
  private let key: (UInt32, UInt32)

  package init(seed: UInt64, block: BlockID, bound: Float) {
    precondition(bound >= 0 && bound.isFinite, "a bound is finite and not negative")
    self.bound = bound
    stream = Philox(seed: seed, purpose: .initialisation)
    batch = PhiloxBatch(seed: seed, purpose: .initialisation)
    key = (
      UInt32(truncatingIfNeeded: block.rawValue), UInt32(truncatingIfNeeded: block.rawValue >> 32)
    )
  }

  /// Weight `index` of the block.
  package func weight(_ index: Int) -> Float {
    weight(stream.words(key.0, key.1, UInt32(index / 4))[index % 4])
  }

  /// 24 random bits, exact in Float, as -bound ..< bound in steps of bound * 2^-23.
  @inline(__always)
  private func weight(_ word: UInt32) -> Float { (Float(word >> 8) * 0x1p-23 - 1) * bound }

  /// Weights first ..< first + all elements of `target`, in row order.
  package func fill(_ target: Matrix, first: Int) {
    for i in 0..<target.rows {
      let row = target.row(i)
      forEachWeight(from: first + i * target.columns, count: row.count) { row[$0] = $1 }
    }
  }

  /// Weights first ..< first + hi.count, split over the two planes.
  package func fill(hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, first: Int) {
    precondition(lo.count == hi.count, "one lo half per hi half")
    forEachWeight(from: first, count: hi.count) { (hi[$0], lo[$0]) = splitMaster($1) }
  }

  /// The upper halves of all weights of the block.
  package func fill(hi: inout MutableSpan<UInt16>) {
    forEachWeight(from: 0, count: hi.count) { hi[$0] = splitMaster($1).hi }
  }

  /// The remainders of all weights of the block.
  package func fill(lo: inout MutableSpan<UInt16>) {
    forEachWeight(from: 0, count: lo.count) { lo[$0] = splitMaster($1).lo }
  }

  /// Eight groups at a time in the middle, single weights at both ends; `j` counts from 0.
  @inline(__always)
  private func forEachWeight(
    from start: Int, count: Int, _ body: (_ j: Int, _ weight: Float) -> Void
  ) {
    let head = min(count, (4 - start % 4) % 4)
    let batches = (count - head) / 32
    for j in 0..<head { body(j, weight(start + j)) }
    for number in 0..<batches {
      let j = head + 32 * number
      let words = batch.words(key.0, key.1, firstGroup: UInt32((start + j) / 4))
      for group in 0..<8 {
        body(j + 4 * group, weight(UInt32(truncatingIfNeeded: words.0[group])))
        body(j + 4 * group + 1, weight(UInt32(truncatingIfNeeded: words.1[group])))
        body(j + 4 * group + 2, weight(UInt32(truncatingIfNeeded: words.2[group])))
        body(j + 4 * group + 3, weight(UInt32(truncatingIfNeeded: words.3[group])))
      }
    }
    for j in head + 32 * batches..<count { body(j, weight(start + j)) }
  }
}

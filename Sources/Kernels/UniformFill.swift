package import Base

/// The initial weights of a block: weight i is uniform in [-bound, bound) and a function of (seed, key,
/// i) alone, so any part of a block can be made at any time, on any thread, and be the same.
package struct UniformFill: Sendable {
  package let stream: Philox
  /// The block: two words of its `BlockID.rawValue`.
  package let key: (UInt32, UInt32)
  package let bound: Float

  package init(seed: UInt64, block: BlockID, bound: Float) {
    precondition(bound >= 0 && bound.isFinite, "a bound is finite and not negative")
    stream = Philox(seed: seed, purpose: .initialisation)
    key = (
      UInt32(truncatingIfNeeded: block.rawValue), UInt32(truncatingIfNeeded: block.rawValue >> 32)
    )
    self.bound = bound
  }

  /// Weights 4 group ..< 4 group + 4.
  @inline(__always)
  func weights(ofGroup group: Int) -> SIMD4<Float> {
    let words = stream.words(key.0, key.1, UInt32(group))
    // 24 random bits, exact in Float, as -1 ..< 1 in steps of 2^-23.
    return (SIMD4<Float>(words &>> 8) * 0x1p-23 - 1) * bound
  }

  /// Weight `index` of the block.
  package func weight(_ index: Int) -> Float { weights(ofGroup: index / 4)[index % 4] }

  /// Weights first ..< first + all elements of `target`, in row order.
  package func fill(_ target: Matrix, first: Int) {
    for i in 0..<target.rows {
      let (row, start) = (target.row(i), first + i * target.columns)
      var index = 0
      while index < row.count {
        let group = (start + index) / 4
        let four = weights(ofGroup: group)
        for lane in (start + index) % 4..<min(4, start + row.count - 4 * group) {
          row[index] = four[lane]
          index += 1
        }
      }
    }
  }

  /// Weights first ..< first + hi.count, split over the two planes.
  package func fill(hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, first: Int) {
    precondition(lo.count == hi.count, "one lo half per hi half")
    var index = 0
    while index < hi.count {
      let group = (first + index) / 4
      let four = weights(ofGroup: group)
      for lane in (first + index) % 4..<min(4, first + hi.count - 4 * group) {
        (hi[index], lo[index]) = splitMaster(four[lane])
        index += 1
      }
    }
  }

  /// The upper halves of all weights of the block.
  package func fill(hi: inout MutableSpan<UInt16>) {
    for group in 0..<(hi.count + 3) / 4 {
      let four = weights(ofGroup: group)
      for lane in 0..<min(4, hi.count - 4 * group) {
        hi[4 * group + lane] = splitMaster(four[lane]).hi
      }
    }
  }

  /// The remainders of all weights of the block.
  package func fill(lo: inout MutableSpan<UInt16>) {
    for group in 0..<(lo.count + 3) / 4 {
      let four = weights(ofGroup: group)
      for lane in 0..<min(4, lo.count - 4 * group) {
        lo[4 * group + lane] = splitMaster(four[lane]).lo
      }
    }
  }
}

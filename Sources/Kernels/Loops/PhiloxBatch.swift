/// `Philox.words` for eight consecutive last counters, in vector registers: 32-bit numbers in
/// 64-bit lanes, as the widening multiplication wants them.
package struct PhiloxBatch: Sendable {
  typealias Words = SIMD8<UInt64>
  private let key: (UInt64, UInt64)
  private let lane: UInt64

  /// - Parameter lane: the last word of every counter, below 2^32.
  package init(seed: UInt64, lane: UInt64) {
    key = (seed & 0xffff_ffff, seed >> 32)
    self.lane = lane
  }

  /// Lane g of word w is word w of counter (a, b, firstGroup + g).
  @inline(__always)
  func words(_ a: UInt32, _ b: UInt32, firstGroup: UInt32) -> (Words, Words, Words, Words) {
    let low = Words(repeating: 0xffff_ffff)
    var x = Words(repeating: UInt64(a))
    var y = Words(repeating: UInt64(b))
    var z = Words(0, 1, 2, 3, 4, 5, 6, 7) &+ Words(repeating: UInt64(firstGroup))
    var w = Words(repeating: lane)
    var (first, second) = (Words(repeating: key.0), Words(repeating: key.1))
    for _ in 0..<10 {
      // Only the lower halves of lanes count. Masked here, a product is one instruction; upper halves
      // may hold anything meanwhile.
      let p = (x & low) &* Words(repeating: 0xD251_1F53)
      let q = (z & low) &* Words(repeating: 0xCD9E_8D57)
      (x, z) = ((q &>> 32) ^ y ^ first, (p &>> 32) ^ w ^ second)
      (y, w) = (q, p)
      first = first &+ 0x9E37_79B9
      second = second &+ 0xBB67_AE85
    }
    return (x & low, y & low, z & low, w & low)
  }
}

/// A set of random 16-bit numbers for stochastic rounding: words 0 and 1 of the counters 32 s + c of
/// set s, c = 0 ..< 8, are its first 32 numbers, lower halves first; words 2 and 3 the next 32; then
/// come those of the next eight counters.
extension PhiloxBatch {
  /// Numbers in a set.
  package static let setCount = 256

  /// Overwrites `numbers`, `setCount` of them, with those of set `set` of (a, b).
  package func loopFill(_ numbers: inout MutableSpan<UInt16>, _ a: UInt32, _ b: UInt32, set: Int) {
    precondition(numbers.count == Self.setCount, "a set of numbers")
    precondition(0..<1 << 27 ~= set, "counters have 32 bits")
    var bytes = unsafe numbers.mutableBytes
    for part in 0..<4 {
      let words = words(a, b, firstGroup: UInt32(32 * set + 8 * part))
      bytes.storeBytes(
        of: words.0 | words.1 &<< 32, toByteOffset: 128 * part, as: SIMD8<UInt64>.self)
      bytes.storeBytes(
        of: words.2 | words.3 &<< 32, toByteOffset: 128 * part + 64, as: SIMD8<UInt64>.self)
    }
  }
}

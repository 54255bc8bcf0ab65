import Base

/// `Philox.words` for eight consecutive last counters, in vector registers: 32-bit numbers in
/// 64-bit lanes, as the widening multiplication wants them.
struct PhiloxBatch: Sendable {
  typealias Words = SIMD8<UInt64>
  private let key: (UInt64, UInt64)
  private let lane: UInt64

  init(seed: UInt64, purpose: RandomPurpose) {
    key = (seed & 0xffff_ffff, seed >> 32)
    lane = UInt64(purpose.rawValue)
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

/// What a random number is for. Each purpose is its own stream of the one seed, so that adding a
/// use never moves the numbers of another. Raw values are part of what a seed means: never
/// renumber.
package enum RandomPurpose: UInt32, Sendable {
  case initialisation = 1
  case tokenSelection = 2
  case gateJitter = 3
  case taskSampling = 4
  case denoising = 5
  case epochOrder = 6
  case decoding = 7
  case gateChoice = 8
  case weightRounding = 9
  case momentRounding = 10
  case pruning = 11
  case test = 99
}

/// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
/// 1, 2, 3", SC 2011). A number is a pure function of (seed, purpose, counter), so recomputation,
/// resume and any number of threads agree.
package struct Philox: Sendable {
  @usableFromInline let key: SIMD2<UInt32>
  @usableFromInline let lane: UInt32

  /// The stream of `purpose` under `seed`.
  package init(seed: UInt64, purpose: RandomPurpose) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    lane = purpose.rawValue
  }

  /// Four 32-bit words for three counters of the caller's choice; the purpose is the fourth.
  @inlinable
  package func words(_ a: UInt32, _ b: UInt32, _ c: UInt32) -> SIMD4<UInt32> {
    Self.block(counter: SIMD4(a, b, c, lane), key: key)
  }

  /// A number in [0, 1) with 24 random bits: exact in Float.
  @inlinable
  package func uniform(_ a: UInt32, _ b: UInt32, _ c: UInt32) -> Float {
    Self.unit(words(a, b, c).x)
  }

  /// A whole number in 0..<bound, unbiased enough for bounds far below 2^32 (multiply and shift).
  @inlinable
  package func below(_ bound: Int, _ a: UInt32, _ b: UInt32, _ c: UInt32) -> Int {
    precondition(bound > 0 && bound <= 1 << 32, "a positive bound of at most 32 bits")
    return Int((UInt64(words(a, b, c).x) * UInt64(bound)) >> 32)
  }

  /// The upper 24 bits of `word` as a number in [0, 1).
  @inlinable
  package static func unit(_ word: UInt32) -> Float { Float(word >> 8) * 0x1p-24 }

  /// Ten rounds of Philox4x32.
  @inlinable
  package static func block(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
    var c = counter
    var k = key
    for _ in 0..<10 {
      let p0 = UInt64(0xD251_1F53) &* UInt64(c.x)
      let p1 = UInt64(0xCD9E_8D57) &* UInt64(c.z)
      c = SIMD4(
        UInt32(truncatingIfNeeded: p1 >> 32) ^ c.y ^ k.x, UInt32(truncatingIfNeeded: p1),
        UInt32(truncatingIfNeeded: p0 >> 32) ^ c.w ^ k.y, UInt32(truncatingIfNeeded: p0))
      k = k &+ SIMD2(0x9E37_79B9, 0xBB67_AE85)
    }
    return c
  }
}

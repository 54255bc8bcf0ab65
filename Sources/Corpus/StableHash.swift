/// A 64-bit hash that never changes between runs, machines or releases, unlike `Hasher`.
///
/// FNV-1a over the bytes, then the finaliser of SplitMix64, because FNV alone leaves the low bits
/// of short texts poorly mixed and the held-out split takes a remainder.
package enum StableHash {
  package static func of(_ text: String) -> UInt64 { of(text.utf8) }

  package static func of(_ bytes: some Sequence<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return mix(hash)
  }

  /// A hash that depends on both, in this order.
  package static func combine(_ a: UInt64, _ b: UInt64) -> UInt64 {
    mix(a &* 0x9e37_79b9_7f4a_7c15 ^ b)
  }

  private static func mix(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

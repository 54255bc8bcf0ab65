import Base
import Testing

/// The known answers published with the generator (Random123's kat_vectors, philox4x32 10 rounds).
@Test(arguments: [
  (
    SIMD4<UInt32>(repeating: 0), SIMD2<UInt32>(0, 0),
    SIMD4<UInt32>(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)
  ),
  (
    SIMD4<UInt32>(repeating: .max), SIMD2<UInt32>(.max, .max),
    SIMD4<UInt32>(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)
  ),
  (
    SIMD4<UInt32>(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344),
    SIMD2<UInt32>(0xa409_3822, 0x299f_31d0),
    SIMD4<UInt32>(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)
  ),
])
func philoxMatchesItsKnownAnswers(
  _ counter: SIMD4<UInt32>, _ key: SIMD2<UInt32>, _ expected: SIMD4<UInt32>
) {
  #expect(Philox.block(counter: counter, key: key) == expected)
}

@Test func streamsOfDifferentPurposesDiffer() {
  let a = Philox(seed: 7, purpose: .initialisation).words(1, 2, 3)
  let b = Philox(seed: 7, purpose: .tokenSelection).words(1, 2, 3)
  #expect(a != b)
}

@Test func uniformNumbersFillTheUnitIntervalEvenly() {
  let stream = Philox(seed: 11, purpose: .test)
  var bins = [Int](repeating: 0, count: 10)
  for i in 0..<100_000 { bins[Int(stream.uniform(UInt32(i), 0, 0) * 10)] += 1 }
  // Chi-square with 9 degrees of freedom; 27.9 is its 0.999 quantile.
  let chiSquare = bins.reduce(0.0) { $0 + (Double($1) - 10_000) * (Double($1) - 10_000) / 10_000 }
  #expect(chiSquare < 27.9)
}

import Base
import Kernels
import TestSupport
import Testing

@Suite struct Bfloat16Tests {
  /// Goal: the split is exact for every low half, under upper halves of either sign and any size.
  @Test func everyLowHalfIsRestored() {
    for upper: UInt32 in [0, 1, 0x3f80, 0x3f81, 0x7f7f, 0x8000, 0xbf80, 0xff7f, 0x4049] {
      let isExact = (UInt32(0)...0xffff).allSatisfy { low in
        let bits = upper << 16 | low
        let (hi, lo) = splitMaster(Float(bitPattern: bits))
        return joinMaster(hi: hi, lo: lo).bitPattern == bits
      }
      #expect(isExact, "upper half \(upper)")
    }
  }

  /// Goal: means of bfloat16 pairs, one in ten of them a tie, are restored; halves go up in
  /// magnitude.
  @Test func meansOfBfloat16PairsAreRestored() {
    let stream = Philox(seed: 1, purpose: .test)
    var ties = 0
    for i in 0..<20_000 {
      let words = stream.words(UInt32(i), 0, 0)
      let first = widen(UInt16(truncatingIfNeeded: 0x3f00 + words.x % 0x100))
      let second = widen(UInt16(truncatingIfNeeded: 0x3f00 + words.y % 0x100))
      let mean = (first + second) / 2
      let (hi, lo) = splitMaster(mean)
      #expect(joinMaster(hi: hi, lo: lo) == mean)
      guard mean.bitPattern & 0xffff == 0x8000 else { continue }
      ties += 1
      #expect(widen(hi) > mean)
    }
    #expect(ties > 1000)
  }

  @Test func hiIsTheNearestBfloat16() {
    let x = testMatrix(1, 1000, seed: 2)
    for weight in x.values {
      // The last place of a bfloat16 is worth 2^-7 of its leading bit.
      #expect(abs(widen(splitMaster(weight).hi) - weight) <= weight.binade.magnitude * 0x1p-8)
    }
  }

  @Test func planesAreWrittenAndReadInRowOrder() {
    let weights = testMatrix(5, 19, seed: 3, padding: 2)
    var (hi, lo) = (Array(repeating: UInt16(0), count: 95), Array(repeating: UInt16(0), count: 95))
    split(weights, &hi, &lo)
    let joined = Matrix(rows: 1, columns: 95)
    joinMaster(hi: hi.span, lo: lo.span, into: SpacedFloats(joined), on: .inline)
    #expect(bits(joined) == bits(weights))
    widen(hi.span, into: SpacedFloats(joined), on: .inline)
    #expect(joined.values == weights.values.map { widen(splitMaster($0).hi) })
  }

  private func split(_ weights: Matrix, _ hi: inout [UInt16], _ lo: inout [UInt16]) {
    var high = hi.mutableSpan
    var low = lo.mutableSpan
    splitMaster(weights, hi: &high, lo: &low)
  }

  /// Goal: planes longer than a task become the same floats on any number of workers.
  @Test(arguments: [1, 3]) func planesAreWidenedWhole(threads: Int) {
    let count = 40_001
    let workers = Workers(count: threads)
    // Neither infinite nor, after borrowing for a negative remainder, a NaN.
    let hi = (0..<count).map { UInt16(truncatingIfNeeded: $0 &* 40_503) & 0xBFFF | 0x100 }
    let lo = (0..<count).map { UInt16(truncatingIfNeeded: $0 &* 30_011) }
    let weights = Matrix(rows: 1, columns: count)
    widen(hi.span, into: SpacedFloats(weights), on: workers)
    let isWidened = weights.values == hi.map { widen($0) }
    #expect(isWidened)
    joinMaster(hi: hi.span, lo: lo.span, into: SpacedFloats(weights), on: workers)
    let isJoined = weights.values == zip(hi, lo).map { joinMaster(hi: $0, lo: $1) }
    #expect(isJoined)
  }
}

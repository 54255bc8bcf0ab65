import Kernels
import TestSupport
import Testing

@Suite struct BoundaryCodecTests {
  /// Bits that show every rule of rounding, each with what becomes of it.
  static let cases: [(from: UInt32, to: UInt32, why: String)] = [
    (0x3F80_0000, 0x3F80_0000, "one"),
    (0x3F80_7FFF, 0x3F80_0000, "less than half a unit"),
    (0x3F80_8000, 0x3F80_0000, "a tie, down to even"),
    (0x3F81_8000, 0x3F82_0000, "a tie, up to even"),
    (0x3F80_8001, 0x3F81_0000, "more than half a unit"),
    (0xBF81_8000, 0xBF82_0000, "a negative tie"),
    (0x3FFF_FFFF, 0x4000_0000, "a carry into the exponent"),
    (0x8000_0000, 0x8000_0000, "negative zero"),
    (0x0000_8001, 0x0001_0000, "a number below the normal ones"),
    (0x7F7F_FFFF, 0x7F80_0000, "the largest float, nearer to infinity"),
    (0x7F80_0000, 0x7F80_0000, "infinity"),
    (0xFF80_0000, 0xFF80_0000, "negative infinity"),
    (0x7FC0_0000, 0x7FC0_0000, "a NaN"),
    (0x7FFF_FFFF, 0x7FFF_0000, "a NaN that a carry would make a number"),
    (0xFFFF_8000, 0xFFFF_0000, "a negative one"),
    (0x7F80_0001, 0x7FC0_0000, "a NaN in the lower half alone"),
  ]

  @Test(arguments: cases.indices) func everyKindOfNumberIsRounded(_ index: Int) {
    let (from, to, why) = Self.cases[index]
    let rounded = nearestBfloat16(Float(bitPattern: from))
    #expect(rounded.bitPattern == to, "\(why)")
    if from & 0x7F80_0000 != 0x7F80_0000 {
      #expect(UInt32(roundedToBfloat16(Float(bitPattern: from))) << 16 == to, "\(why)")
    }
  }

  /// Odd shapes around the size of a task, any number of threads; what is stored comes back.
  @Test(arguments: [(1, 1), (3, 7), (5, 4099), (16385, 1), (32, 1024)], [1, 3])
  func rowsAreRoundedStoredAndLoaded(_ shape: (Int, Int), _ threads: Int) {
    let workers = Workers(count: threads)
    let x = testMatrix(shape.0, shape.1, seed: 4)
    let before = x.values
    let copy = Matrix(rows: shape.0, columns: shape.1)

    var floats = [Float](repeating: 0, count: before.count)
    var span = floats.mutableSpan
    store(x, into: &span, on: workers)
    #expect(floats == before)
    load(floats.span, into: copy, on: workers)
    #expect(copy.values == before)

    roundToBfloat16(x, on: workers)
    #expect(x.values == before.map { nearestBfloat16($0) })
    var halves = [UInt16](repeating: 0, count: before.count)
    var halfSpan = halves.mutableSpan
    narrow(x, into: &halfSpan, on: workers)
    #expect(halves == before.map { roundedToBfloat16($0) })
    widen(halves.span, intoRows: copy, on: workers)
    #expect(copy.values == x.values)
  }

  /// Rows of a larger matrix, as a batch smaller than the model's largest has them.
  @Test func onlyTheRowsInUseAreTouched() {
    let x = testMatrix(9, 5, seed: 2)
    let before = x.values
    roundToBfloat16(x.rows(2..<6), on: .inline)
    #expect(Array(x.values[..<10]) == Array(before[..<10]))
    #expect(Array(x.values[30...]) == Array(before[30...]))
    #expect(Array(x.values[10..<30]) == before[10..<30].map { nearestBfloat16($0) })
  }
}

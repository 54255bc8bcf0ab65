import Base
import Kernels
import Testing

@Suite struct UniformFillTests {
  static let block = BlockID.expert(layer: 2, 7, slice: 1)
  let fill = UniformFill(seed: 42, block: block, bound: 0.125)

  /// Goal: a weight depends on its index alone, wherever a part of the block begins.
  @Test(arguments: [0, 1, 2, 3, 4, 1001]) func partsEqualTheWhole(first: Int) {
    let part = Matrix(rows: 3, columns: 77)
    fill.fill(part, first: first)
    #expect(part.values == (0..<231).map { fill.weight(first + $0) })
  }

  @Test(arguments: [0, 1, 6]) func planesHoldTheSameBits(first: Int) {
    var hi = Array(repeating: UInt16(0), count: 45)
    var lo = hi
    var high = hi.mutableSpan
    var low = lo.mutableSpan
    fill.fill(hi: &high, lo: &low, first: first)
    #expect(
      zip(hi, lo).map { joinMaster(hi: $0, lo: $1) } == (0..<45).map { fill.weight(first + $0) })
  }

  /// Goal: a plane made alone is the plane made with its twin.
  @Test func singlePlanesHoldTheSameBits() {
    var hi = Array(repeating: UInt16(0), count: 75)
    var lo = hi
    var high = hi.mutableSpan
    var low = lo.mutableSpan
    fill.fill(hi: &high)
    fill.fill(lo: &low)
    #expect(zip(hi, lo).map { joinMaster(hi: $0, lo: $1) } == (0..<75).map { fill.weight($0) })
  }

  /// Goal: mean 0 and variance bound^2 / 3 within 4 standard errors; bounds respected; blocks and
  /// seeds differ.
  @Test func isUniform() {
    let count = 100_000
    let weights = Matrix(rows: 1, columns: count)
    fill.fill(weights, first: 0)
    let scaled = weights.values.map { Double($0) / 0.125 }
    #expect(scaled.allSatisfy { -1 <= $0 && $0 < 1 })
    let mean = scaled.reduce(0, +) / Double(count)
    let variance = scaled.reduce(0) { $0 + $1 * $1 } / Double(count)
    #expect(abs(mean) < 4 * (1.0 / 3 / Double(count)).squareRoot())
    #expect(abs(variance - 1.0 / 3) < 4 * (4.0 / 45 / Double(count)).squareRoot())
    let sibling = UniformFill(seed: 42, block: .expert(layer: 2, 7, slice: 2), bound: 0.125)
    let reseeded = UniformFill(seed: 43, block: Self.block, bound: 0.125)
    #expect((0..<8).contains { sibling.weight($0) != fill.weight($0) })
    #expect((0..<8).contains { reseeded.weight($0) != fill.weight($0) })
  }
}

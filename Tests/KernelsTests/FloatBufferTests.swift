import Kernels
import Testing

@Suite struct FloatBufferTests {
  @Test func startsZeroedAlignedAndWithItsCanary() {
    let buffer = FloatBuffer(count: 5000)
    let span = buffer.span
    #expect(span.count == 5000)
    var sum: Float = 0
    for i in span.indices { sum += abs(span[i]) }
    #expect(sum == 0)
    #expect(buffer.canaryIsAlive || !isDebugBuild)
  }

  /// Ranges inside a page, over page edges, of whole pages, and the end, which has the canary.
  @Test(arguments: [0..<0, 3..<9, 1000..<1030, 1000..<3100, 1024..<2048, 4000..<5000, 0..<5000])
  func discardedFloatsAreZeroAndNoOthers(_ range: Range<Int>) {
    let buffer = FloatBuffer(count: 5000)
    let row = buffer.matrix(rows: 1, columns: 5000)
    row.fill(7)
    buffer.discard(range)
    #expect(row.values == (0..<5000).map { range.contains($0) ? 0 : 7 })
    row.fill(8)
    #expect(row.values.allSatisfy { $0 == 8 })
  }

  /// Pages that were discarded are there at once, and zero; what lies beside them stays.
  @Test(arguments: [0..<5000, 1024..<3072, 1500..<1501, 0..<0]) func populatesWholePages(
    range: Range<Int>
  ) {
    let buffer = FloatBuffer(count: 5000)
    let floats = buffer.matrix(rows: 1, columns: 5000)
    floats.fill(3)
    buffer.discard(range)
    buffer.populate(range)
    let whole = buffer.span
    #expect((0..<5000).allSatisfy { whole[$0] == (range.contains($0) ? 0 : 3) })
  }

  @Test func anEmptyBufferIsAllowed() {
    let isEmpty = FloatBuffer(count: 0).span.isEmpty
    #expect(isEmpty)
  }
}

private var isDebugBuild: Bool {
  var isDebug = false
  assert(
    {
      isDebug = true
      return true
    }())
  return isDebug
}

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

  /// Goal: the limits of a mutable span are those asked for.
  @Test func writesThroughARange() {
    let buffer = FloatBuffer(count: 10)
    buffer.withMutableSpan(3..<6) { span in
      for i in span.indices { span[i] = Float(i + 1) }
    }
    #expect(buffer.matrix(rows: 1, columns: 10).values == [0, 0, 0, 1, 2, 3, 0, 0, 0, 0])
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

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

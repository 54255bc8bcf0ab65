import Kernels
import Testing

@Suite struct FloatStreamTests {
  /// Longer than two pieces, with an odd end.
  private static let count = 2 * (1 << 18) + 77

  @Test(arguments: [1, 3]) func loopsDoWhatTheySay(threads: Int) {
    let workers = Workers(count: threads)
    let count = Self.count
    let floats = UnsafeMutableBufferPointer<Float>.allocate(capacity: 4 * count)
    defer { unsafe floats.deallocate() }
    let all = unsafe FloatStream(UnsafeMutableRawBufferPointer(floats))
    let (a, b) = (all.part(0..<count), all.part(count..<2 * count))
    let (c, d) = (all.part(2 * count..<3 * count), all.part(3 * count..<4 * count))
    a.fill(-1, on: workers)
    for i in 0..<count { unsafe floats[count + i] = Float(i % 97) }
    c.fill(0.5, on: workers)
    d.fill(7, on: workers)

    #expect(b.sum(on: workers) == Double((0..<count).reduce(0) { $0 + $1 % 97 }))
    a.triad(b, c, scale: 4, on: workers)
    #expect((0..<count).allSatisfy { unsafe floats[$0] == Float($0 % 97) + 2 })
    a.copy(from: c, on: workers)
    #expect((0..<count).allSatisfy { unsafe floats[$0] == 0.5 })
    a.memcpy(from: b, on: workers)
    #expect((0..<count).allSatisfy { unsafe floats[$0] == Float($0 % 97) })
    #expect((3 * count..<4 * count).allSatisfy { unsafe floats[$0] == 7 })
  }
}

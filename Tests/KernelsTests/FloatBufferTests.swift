import Glibc
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

  /// Pages that were discarded are there at once, all that the range touches, and zero; what lies
  /// beside them stays.
  @Test(
    .enabled(if: canPopulate, "Linux before 5.14 cannot"),
    arguments: [0..<5000, 1024..<3072, 1500..<1501, 0..<0])
  func populatesWholePages(range: Range<Int>) {
    let buffer = FloatBuffer(count: 5000)
    buffer.keepSmallPages()
    let floats = buffer.matrix(rows: 1, columns: 5000)
    floats.fill(3)
    buffer.discard(0..<5000)
    // The last has the canary.
    #expect(pagesInMemory(of: buffer) == [false, false, false, false, true])
    buffer.populate(range)
    let populated = (0..<4).map { page in range.overlaps(page * 1024..<(page + 1) * 1024) }
    #expect(pagesInMemory(of: buffer) == populated + [true])
    floats.fill(3)
    buffer.discard(range)
    buffer.populate(range)
    let whole = buffer.span
    #expect((0..<5000).allSatisfy { whole[$0] == (range.contains($0) ? 0 : 3) })
  }

  /// Goal: with huge pages inside, a range has the memory that it has with small ones, and gives back all
  /// of it: at both ends, huge pages would reach beyond.
  @Test(.enabled(if: canPopulate, "Linux before 5.14 cannot"))
  func hugePagesStayInside() {
    let (buffer, workers) = (FloatBuffer(count: 4 << 20), Workers(count: 2))
    buffer.keepSmallPages()
    for range in [100_000..<1_900_000, 1_900_000..<4_000_000] {
      buffer.populate(range, on: workers)
      let inMemory = pagesInMemory(of: buffer)
      let pages = (0..<4096).map { range.overlaps($0 * 1024..<($0 + 1) * 1024) }
      #expect(Array(inMemory.prefix(4096)) == pages)
      buffer.matrix(rows: 1, columns: range.count, offset: range.lowerBound).fill(1)
      buffer.discard(range)
      // The pages at its ends have floats of others.
      #expect(pagesInMemory(of: buffer).prefix(4096).count { $0 } <= 2)
      buffer.discard(0..<4 << 20)
    }
  }

  @Test func anEmptyBufferIsAllowed() {
    let isEmpty = FloatBuffer(count: 0).span.isEmpty
    #expect(isEmpty)
  }
}

/// Whether each page of `buffer` has memory, as the kernel says.
private func pagesInMemory(of buffer: FloatBuffer) -> [Bool] {
  let span = buffer.span
  return unsafe span.withUnsafeBufferPointer { floats in
    let bytes = floats.count * MemoryLayout<Float>.stride
    var pages = [UInt8](repeating: 0, count: (bytes + 4095) / 4096)
    let result = unsafe mincore(
      UnsafeMutableRawPointer(mutating: floats.baseAddress), bytes, &pages)
    #expect(result == 0)
    return pages.map { $0 & 1 == 1 }
  }
}

/// Of no bytes, which says no more than that the kernel knows the advice.
private let canPopulate: Bool = madvise(nil, 0, MADV_POPULATE_WRITE) == 0

private var isDebugBuild: Bool {
  var isDebug = false
  assert(
    {
      isDebug = true
      return true
    }())
  return isDebug
}

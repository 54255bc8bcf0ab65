import Base
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
    let (huge, workers) = (512 << 10, Workers(count: 2))
    for offset in [nil, 7, -7] {
      let buffer = FloatBuffer(count: 4 << 20)
      buffer.keepSmallPages()
      // From somewhere, from just behind and from just before the start of a huge page.
      let aligned = firstHugePage(of: buffer)
      let range = (offset.map { aligned + huge + $0 } ?? 100_000)..<3_000_000
      buffer.populate(range, on: workers)
      let pages = (0..<4096).map { range.overlaps($0 * 1024..<($0 + 1) * 1024) }
      #expect(Array(pagesInMemory(of: buffer).prefix(4096)) == pages)
      let first = (range.lowerBound - aligned + huge - 1) / huge
      let whole = (range.upperBound - aligned) / huge - first
      #expect(wantsHugePages(buffer) == whole * huge * MemoryLayout<Float>.stride)
      buffer.matrix(rows: 1, columns: range.count, offset: range.lowerBound).fill(1)
      buffer.discard(range)
      // The pages at its ends have floats of others.
      #expect(pagesInMemory(of: buffer).prefix(4096).count { $0 } <= 2)
    }
  }

  /// Goal: a range has memory afterwards and its source has none but at its ends; where pages can move
  /// (ranges a multiple of a huge page apart) their floats have moved with them, else there are zeros;
  /// nobody else's floats change.
  @Test(
    .enabled(if: canPopulate, "Linux before 5.14 cannot"),
    arguments: [
      (100_000, 1_148_576), (2_100_152, 3_000), (0, 1_572_864), (100_000, 1_500_000),
      (2_100_000, 3_000),
    ])
  func memoryIsTakenFromElsewhere(_ place: (source: Int, range: Int)) {
    let workers = Workers(count: 2)
    let length = min(abs(place.source - place.range), 1_100_000)
    let (source, range) = (
      place.source..<place.source + length, place.range..<place.range + length
    )
    let huge = 512 << 10
    for value in [0, 5] as [Float] {
      let buffer = FloatBuffer(count: 4 << 20)
      let isAlike = (source.lowerBound - range.lowerBound) % huge == 0
      #expect(buffer.alike(source, range) == isAlike)
      let first = firstHugePage(of: buffer)
      let moved =
        isAlike
        ? (range.lowerBound - first + huge - 1) / huge * huge + first..<(range.upperBound - first)
          / huge * huge + first : 0..<0
      #expect(moved.isEmpty != isAlike)
      buffer.keepSmallPages()
      let floats = buffer.matrix(rows: 1, columns: buffer.count)
      floats.fill(9)
      buffer.discard(range)
      buffer.populate(source, on: workers)
      floats.columns(source).fill(value)
      buffer.populate(range, takingFrom: source, on: workers)
      // Looking at a float brings its page.
      let pages = pagesInMemory(of: buffer)
      let span = buffer.span
      #expect(
        span.indices.allSatisfy { index in
          if moved.contains(index) { return span[index] == value }
          return span[index] == (source.contains(index) || range.contains(index) ? 0 : 9)
        })
      #expect(pages[range.lowerBound / 1024..<range.upperBound / 1024].allSatisfy { $0 })
      #expect(!pages[source.lowerBound / 1024 + 1..<source.upperBound / 1024].contains(true))
    }
  }

  @Test func aRangeIsCleared() {
    let buffer = FloatBuffer(count: 200_000)
    let row = buffer.matrix(rows: 1, columns: 200_000)
    for range in [0..<0, 17..<150_000, 0..<200_000] {
      row.fill(7)
      buffer.clear(range, on: Workers(count: 2))
      #expect(row.values == (0..<200_000).map { range.contains($0) ? 0 : 7 })
    }
  }

  @Test func anEmptyBufferIsAllowed() {
    let isEmpty = FloatBuffer(count: 0).span.isEmpty
    #expect(isEmpty)
  }
}

/// The first float of `buffer` that a huge page may begin with.
private func firstHugePage(of buffer: FloatBuffer) -> Int {
  let address = unsafe buffer.span.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
  return Int((2 << 20 - address % (2 << 20)) % (2 << 20)) / MemoryLayout<Float>.stride
}

/// Bytes of `buffer` for which huge pages were asked, as the kernel says.
private func wantsHugePages(_ buffer: FloatBuffer) -> Int {
  let start = unsafe buffer.span.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
  let end = start + UInt(buffer.count * MemoryLayout<Float>.stride)
  var isInside = false
  var bytes = 0
  var total = 0
  for line in (text(of: "/proc/self/smaps") ?? "").split(separator: "\n") {
    let words = line.split(whereSeparator: \.isWhitespace)
    let addresses = words[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
    if addresses.count == 2 {
      isInside = addresses[0] >= start && addresses[1] <= end
      bytes = isInside ? Int(addresses[1] - addresses[0]) : 0
    } else if isInside, words[0] == "VmFlags:", words.contains("hg") {
      total += bytes
    }
  }
  return total
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

import DirectIO
import Planning
import Testing

@Suite struct AccessPlanTests {
  private func accesses(
    _ load: Load, region: Range<Int>, count: Int, seed: UInt64 = 1
  ) -> [Access] {
    var plan = AccessPlan(load, region: region, seed: seed)
    return (0..<count).map { _ in plan.next() }
  }

  @Test func sequentialGoesAroundInWholeRequests() {
    let load = Load(.sequential, writeShare: 0, requestBytes: 8192, queueDepth: 1)
    let found = accesses(load, region: 4096..<4096 * 6, count: 5)
    #expect(found.map(\.offset) == [4096, 12288, 4096, 12288, 4096])
    #expect(found.allSatisfy { $0.kind == .read && $0.byteCount == 8192 })
  }

  /// As in fio's mixes, reads and writes each begin at the start.
  @Test func mixesHaveAPlaceForEachKind() {
    let load = Load(.sequential, writeShare: 0.5, requestBytes: 4096, queueDepth: 1)
    let found = accesses(load, region: 0..<1 << 20, count: 6)
    #expect(found.map(\.kind) == [.read, .write, .read, .write, .read, .write])
    #expect(found.map(\.offset) == [0, 0, 4096, 4096, 8192, 8192])
  }

  @Test(arguments: [0, 0.1, 0.25, 1.0 / 3, 0.5, 0.75, 1])
  func sharesAreKept(_ share: Double) {
    let load = Load(.sequential, writeShare: share, requestBytes: 4096, queueDepth: 1)
    let found = accesses(load, region: 0..<1 << 20, count: 1200)
    #expect(found.count { $0.kind == .write } == Int((1200 * share).rounded()))
  }

  /// 40 KiB in requests of 16 KiB: 16, 16 and 8, one after the other, at places of records.
  @Test func recordsAreCutInOrder() {
    let load = Load(
      .records(byteCount: 40 << 10), writeShare: 0, requestBytes: 16 << 10, queueDepth: 1)
    let region = 4096..<4096 + 250 << 10
    let found = accesses(load, region: region, count: 300)
    var places: Set<Int> = []
    for start in stride(from: 0, to: found.count, by: 3) {
      let record = found[start..<start + 3]
      let first = record[start].offset
      #expect((first - region.lowerBound) % (40 << 10) == 0)
      #expect(record.map(\.offset) == [first, first + 16 << 10, first + 32 << 10])
      #expect(record.map(\.byteCount) == [16 << 10, 16 << 10, 8 << 10])
      #expect(first >= region.lowerBound && first + 40 << 10 <= region.upperBound)
      places.insert(first)
    }
    #expect(places.count == 6, "every one of the six records has its turn")
  }

  @Test func placesAreAFunctionOfTheSeed() {
    let load = Load(
      .records(byteCount: 8192), writeShare: 0.5, requestBytes: 4096, queueDepth: 1)
    let region = 0..<1 << 22
    let found = accesses(load, region: region, count: 64, seed: 3)
    #expect(found == accesses(load, region: region, count: 64, seed: 3))
    #expect(found != accesses(load, region: region, count: 64, seed: 4))
    // Reads and writes go to places of their own.
    #expect(
      found.filter { $0.kind == .read }.map(\.offset)
        != found.filter { $0.kind == .write }.map(\.offset))
  }

  @Test(arguments: [(0.5, [4, 4, 4, 4]), (0.25, [6, 2, 6, 2])])
  func turnsAreOfTheirLength(_ share: Double, _ lengths: [Int]) {
    let load = Load(
      .sequential, writeShare: share, requestBytes: 4096, queueDepth: 1, turnBytes: 4 * 4096)
    let kinds = accesses(load, region: 0..<1 << 20, count: 16).map(\.kind)
    let expected = zip(lengths, [Transfer.Kind.read, .write, .read, .write]).flatMap {
      Array(repeating: $1, count: $0)
    }
    #expect(kinds == expected)
  }
}

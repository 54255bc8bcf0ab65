import Base
import PinnedMemory
import Testing

@Suite struct PinnedRegionTests {
  @Test(arguments: [1, 4096, 5000, 3 << 20])
  func startsAlignedZeroedAndRounded(byteCount: Int) throws {
    let ledger = MemoryLedger(ceiling: 1 << 30)
    let region = try PinnedRegion(name: "test", byteCount: byteCount, ledger: ledger)
    let start = unsafe Int(bitPattern: region.memory.address)
    #expect(start % (byteCount >= 2 << 20 ? 2 << 20 : 4096) == 0)
    #expect(region.memory.byteCount == roundUp(byteCount, to: 4096))
    #expect(unsafe region.memory.bytes.allSatisfy { $0 == 0 })
    unsafe region.memory.bytes.copyBytes(from: repeatElement(7, count: region.memory.byteCount))
    #expect(unsafe region.memory.bytes.last == 7)
  }

  /// The ledger is asked by name, for whole pages, before anything is mapped.
  @Test func asksTheLedger() throws {
    let ledger = MemoryLedger(ceiling: 10_000)
    let region = try PinnedRegion(name: "first", byteCount: 5000, ledger: ledger)
    #expect(region.name == "first")
    #expect(ledger.grants.map(\.name) == ["first"] && ledger.granted == 8192)
    let error = #expect(throws: MemoryError.self) {
      let second = try PinnedRegion(name: "second", byteCount: 4096, ledger: ledger)
      #expect(second.name == "second")
    }
    guard case .refused(let refusal) = error else {
      Issue.record("refused by the ledger, not \(String(describing: error))")
      return
    }
    #expect(refusal.name == "second" && refusal.missing == 2288)
    #expect(error.map { "\($0)".contains("--memory") } == true)
  }

  /// More than an address space: the kernel refuses, and the error carries its errno.
  @Test func namesWhatTheKernelRefused() {
    let error = #expect(throws: MemoryError.self) {
      let region = try PinnedRegion(
        name: "absurd", byteCount: 1 << 60, ledger: MemoryLedger(ceiling: .max))
      #expect(region.name == "absurd")
    }
    guard case .mapping("absurd", 1 << 60, let code) = error else {
      Issue.record("refused by the kernel, not \(String(describing: error))")
      return
    }
    #expect(code != 0)
  }

  /// Memory works with and without the right to lock it; without, there is something to tell.
  @Test func remembersWhetherItIsLocked() throws {
    let ledger = MemoryLedger(ceiling: 1 << 20)
    let region = try PinnedRegion(name: "test", byteCount: 4096, ledger: ledger)
    #expect(region.isLocked == (region.lock.remedy == nil))
    let unlocked = PageLock.unlocked(wantedBytes: 3 << 20, limitBytes: 8 << 10, code: 12)
    let remedy = try #require(unlocked.remedy)
    #expect(remedy.contains("3 MiB") && remedy.contains("8 KiB"))
    #expect(remedy.contains("ulimit -l 3072"))
  }

  /// Several regions are one story: with all their bytes, and only if one of them is not locked.
  @Test func regionsAreLockedTogetherOrNot() {
    let unlocked = PageLock.unlocked(wantedBytes: 3 << 20, limitBytes: 8 << 10, code: 12)
    #expect(PageLock.all([.locked, .locked], wantedBytes: 5 << 20) == .locked)
    #expect(
      PageLock.all([.locked, unlocked, unlocked], wantedBytes: 9 << 20)
        == .unlocked(wantedBytes: 9 << 20, limitBytes: 8 << 10, code: 12))
  }

  /// What is said to be on huge pages is no more than there is. Memory may be too scattered for
  /// even one, on a small node for instance: then nothing is promised.
  @Test func countsItsHugePages() throws {
    let ledger = MemoryLedger(ceiling: 1 << 30)
    let small = try PinnedRegion(name: "small", byteCount: 4096, ledger: ledger)
    #expect(small.hugeBytes == 0)
    let policy = chosen(firstLine(of: "/sys/kernel/mm/transparent_hugepage/enabled") ?? "never")
    // A test beside this one may take all memory for a moment, and have given it back when this looks.
    var most = 0
    var wasPlenty = false
    for _ in 0..<8 where most < 2 << 20 {
      let isPlenty = everyNodeHasFreeHugePages()
      let large = try PinnedRegion(name: "large", byteCount: 9 << 20, ledger: ledger)
      #expect((0...large.memory.byteCount).contains(large.hugeBytes))
      most = max(most, large.hugeBytes)
      wasPlenty = isPlenty && everyNodeHasFreeHugePages()
    }
    if policy != "never", wasPlenty { #expect(most >= 2 << 20) }
  }
}

/// Whether each node has at least 64 free pieces of 4 MiB (the last column of /proc/buddyinfo), so
/// that what runs beside a test does not take the last of them.
private func everyNodeHasFreeHugePages() -> Bool {
  var freeByNode: [Substring: Int] = [:]
  for line in (text(of: "/proc/buddyinfo") ?? "").split(separator: "\n") {
    let words = line.split(separator: " ", omittingEmptySubsequences: true)
    guard words.count > 4, let free = Int(words[words.count - 1]) else { return false }
    freeByNode[words[1], default: 0] += free
  }
  return !freeByNode.isEmpty && freeByNode.values.allSatisfy { $0 >= 64 }
}

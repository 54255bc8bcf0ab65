import Base
import PinnedMemory
import Planning
import Testing

@Suite struct MemoryProbeTests {
  /// A short run measures each pair of nodes, with figures in order, and says that it is too small.
  @Test func everyPairOfNodesIsMeasured() throws {
    let topology = Topology.current()
    let report = try MemoryProbe(arrayBytes: 1 << 20, seconds: 0.01, threads: 2).run()
    #expect(report.rows.count == topology.cpuNodes.count * topology.nodes.count)
    #expect(report.rounds >= 3 && report.arrayBytes == 1 << 20)
    for row in report.rows {
      for rate in [row.copy, row.triad, row.memcpy, row.read] {
        #expect(rate.low > 0 && rate.low <= rate.median && rate.median <= rate.high)
      }
      #expect(row.ceiling >= row.memcpy.median && row.copyShare > 0 && row.threads == 2)
    }
    if let cache = report.cacheBytes, cache > 1 << 18 {
      #expect(report.notes.contains { $0.contains("caches") })
    }
    #expect(report.checksum != 0 && report.hugePageBytes <= report.allBytes)
  }

  @Test func whatCannotBeIsRefused() {
    let known = Topology.current().nodes.map(\.id)
    let none = (known.max() ?? 0) + 1
    let error = #expect(throws: MemoryProbeError.self) {
      _ = try MemoryProbe(nodes: [none], seconds: 1).run()
    }
    #expect(error.map { "\($0)".contains("no memory node \(none)") } == true)
    let tooLarge = #expect(throws: MemoryProbeError.self) {
      _ = try MemoryProbe(arrayBytes: 1 << 50, seconds: 1).run()
    }
    #expect(tooLarge.map { "\($0)".contains("--size") } == true)
  }

  @Test func cacheSizesAreRead() {
    #expect(CacheFacts.bytes("32768K") == 32 << 20)
    #expect(CacheFacts.bytes("2M") == 2 << 20)
    #expect(CacheFacts.bytes("512") == 512 && CacheFacts.bytes("") == nil)
    #expect(CacheFacts.lastLevelBytes(of: []) == nil)
  }
}

import Base
import Glibc
import Kernels
import PinnedMemory
import Synchronization
import Testing

/// What only a machine with several memory nodes can show.
@Suite(
  .enabled(if: Topology.current().nodes.count > 1, "needs several memory nodes"), .serialized)
struct PlacementTests {
  private let topology = Topology.current()
  private let ledger = MemoryLedger(ceiling: 1 << 30)

  /// Every page of a region is on the node asked for, nodes of memory alone included.
  @Test(arguments: [4096, 1 << 20, 12 << 20])
  func everyPageIsWhereItWasAskedFor(byteCount: Int) throws {
    for node in topology.nodes {
      let region = try PinnedRegion(
        name: "test", byteCount: byteCount, placement: .node(node.id), ledger: ledger)
      let counted = region.census
      let census = try #require(counted)
      #expect(census.pagesByNode == [node.id: byteCount / 4096] && census.absentPages == 0)
      let (found, note) = (region.node, region.placementNote)
      #expect(found == node.id && note == nil)
      #expect(PageCensus.of(region.memory) == census)
    }
  }

  /// Pages of 4 KiB alternate; huge pages do, too, so the difference is one of those at most.
  @Test(arguments: [(64 << 10, 1), ((2 << 20) - 4096, 1), (16 << 20, 512)])
  func interleavedPagesSplitEvenly(byteCount: Int, most: Int) throws {
    let nodes = topology.cpuNodes.map(\.id)
    let region = try PinnedRegion(
      name: "test", byteCount: byteCount, placement: .interleaved(nodes), ledger: ledger)
    let counted = region.census
    let census = try #require(counted)
    #expect(census.pages == byteCount / 4096 && census.absentPages == 0)
    let counts = nodes.map { census.pagesByNode[$0] ?? 0 }
    #expect(counts.reduce(0, +) == census.pages)
    #expect(counts.max()! - counts.min()! <= most, "\(counts)")
    #expect(region.placementNote == nil && region.node == nil)
  }

  /// Pages on another node than the one asked about are seen, and called so.
  @Test func misplacedPagesAreCounted() throws {
    let (here, there) = (topology.nodes[0].id, topology.nodes[1].id)
    let region = try PinnedRegion(
      name: "test", byteCount: 40 << 10, placement: .node(there), ledger: ledger)
    let memory = region.memory
    let census = try #require(PageCensus.of(memory))
    #expect(census.misplaced(from: .node(here)) == 10)
    #expect(census.misplaced(from: .node(there)) == 0)
    #expect(census.misplaced(from: .interleaved([here, there])) == 0)
  }

  /// A node too small for what is asked of it: the run goes on, and the note says what is where.
  @Test func aFullNodeIsANote() throws {
    let smallest = try #require(topology.nodes.min { $0.freeBytes < $1.freeBytes })
    let others = topology.nodes.filter { $0.id != smallest.id }.reduce(0) { $0 + $1.freeBytes }
    let tooMuch = smallest.memoryBytes + (16 << 20)
    try #require(tooMuch - smallest.freeBytes < others / 2, "there is room elsewhere")
    let region = try PinnedRegion(
      name: "large", byteCount: tooMuch, placement: .node(smallest.id),
      ledger: MemoryLedger(ceiling: .max))
    let note = region.placementNote ?? "nothing to tell"
    #expect(note.contains("large") && note.contains("not on node \(smallest.id)"))
    #expect(region.node == nil)
  }

  /// Workers run on the processors of their node, and a node's loop runs on its workers.
  @Test func workersRunBesideTheirMemory() {
    let nodes = topology.cpuNodes
    let groups = nodes.map { WorkerGroup(node: $0.id, processors: $0.cpus) }
    let pin = ThreadPin(to: groups[0].processors)
    let workers = Workers(count: max(2, nodes.count), groups: groups)
    for node in nodes {
      let strangers = Atomic<Int>(0)
      for _ in 0..<20 {
        workers.on(node.id).forEach(64) { _ in
          if !node.cpus.contains(Int(sched_getcpu())) { strangers.add(1, ordering: .relaxed) }
        }
      }
      #expect(strangers.load(ordering: .relaxed) == 0)
    }
    _ = consume pin
  }

  /// The frames of a pool know their node, and every one of its pages is there.
  @Test func framesAreWhereTheySay() throws {
    var sharing = FrameSharing(.local, topology)
    let pool = try FramePool(
      name: "pool", shares: sharing.share(frames: 24, frameBytes: 128 << 10),
      frameBytes: 128 << 10, ledger: ledger)
    #expect(pool.placementNotes.isEmpty)
    var counts: [Int: Int] = [:]
    func drain() {
      guard let frame = pool.take() else { return }
      let node = frame.node ?? -1
      #expect(PageCensus.of(frame.memory)?.pagesByNode == [node: 32])
      counts[node, default: 0] += 1
      drain()
    }
    drain()
    let weights = topology.cpuNodes.map(\.cpus.count)
    #expect(topology.cpuNodes.map { counts[$0.id] ?? 0 } == apportion(24, weights))
  }
}

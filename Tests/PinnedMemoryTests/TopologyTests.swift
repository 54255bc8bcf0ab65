import PinnedMemory
import Testing

@Suite struct TopologyTests {
  /// Every processor is beside exactly one node, and nodes have the memory they say.
  @Test func describesThisMachine() {
    let topology = Topology.current()
    #expect(!topology.nodes.isEmpty)
    let cpus = topology.nodes.flatMap(\.cpus)
    #expect(!cpus.isEmpty && Set(cpus).count == cpus.count)
    #expect(topology.nodes.map(\.id) == topology.nodes.map(\.id).sorted())
    for node in topology.nodes {
      #expect(node.memoryBytes > 0 && (0...node.memoryBytes).contains(node.freeBytes))
    }
  }

  /// Pools are bound where there is a choice and room, and only there.
  @Test func namesALocalNodeOnlyWhereThereIsAChoice() {
    let topology = Topology.current()
    let local = topology.localNode(holding: 1 << 20)
    if topology.nodes.count == 1 {
      #expect(local == nil)
    } else {
      #expect(topology.nodes.contains { $0.id == local && !$0.cpus.isEmpty })
    }
    #expect(topology.localNode(holding: .max) == nil)
  }
}

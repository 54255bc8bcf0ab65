import Base
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
      #expect((node.freeBytes...node.memoryBytes).contains(node.availableBytes))
    }
    #expect(topology.distances.count == topology.nodes.count)
    for index in topology.nodes.indices {
      #expect(topology.distances[index][index] == topology.distances[index].min())
    }
    #expect(!topology.currentNode.isMemoryOnly)
  }

  /// Processors of a node without memory work from the nearest node that has some.
  @Test func processorsWithoutMemoryJoinTheNearestNode() {
    let topology = Topology(
      nodes: [
        .init(id: 0, cpus: [0], memoryBytes: 100, freeBytes: 50),
        .init(id: 1, cpus: [1, 2], memoryBytes: 0, freeBytes: 0),
        .init(id: 3, cpus: [], memoryBytes: 100, freeBytes: 60),
        .init(id: 4, cpus: [4], memoryBytes: 100, freeBytes: 70),
      ],
      distances: [[10, 20, 17, 21], [20, 10, 30, 11], [17, 30, 10, 28], [21, 11, 28, 10]])
    #expect(topology.nodes.map(\.id) == [0, 3, 4])
    #expect(topology.nodes.map(\.cpus) == [[0], [], [1, 2, 4]])
    #expect(topology.distances == [[10, 17, 21], [17, 10, 28], [21, 28, 10]])
    #expect(topology.memoryOnlyNodes.map(\.id) == [3])
    #expect(topology.cpuNodes.map(\.id) == [0, 4])
    #expect(topology.cpuNode(nearest: 3)?.id == 0)
    #expect(topology.cpuNode(nearest: 4)?.id == 4)
    #expect(topology.cpuNode(nearest: 9) == nil)
  }

  /// Pinning a thread is no reason to see fewer processors.
  @Test func aPinnedThreadSeesTheWholeMachine() throws {
    let before = Topology.current().nodes.map(\.cpus)
    let pin = ThreadPin(to: [try #require(Affinity.processors().first)])
    #expect(Topology.current().nodes.map(\.cpus) == before)
    _ = consume pin
  }
}

import PinnedMemory
import Planning
import Testing

@Suite struct NodeFindingsTests {
  /// Two nodes; this process has processors of the first alone.
  private let topology = Topology(
    nodes: [
      .init(id: 0, cpus: [0], memoryBytes: 1 << 30, freeBytes: 1 << 29),
      .init(id: 1, cpus: [], memoryBytes: 1 << 30, freeBytes: 1 << 29),
    ], distances: [[10, 20], [20, 10]])

  private func subjects(
    nodes: Int = 2, drives: [Int] = [], topology: Topology? = nil,
    _ change: (inout NodeFindings.Settings) -> Void = { _ in }
  ) -> [String] {
    var settings = NodeFindings.Settings()
    change(&settings)
    let all = NodeFindings(
      nodeCount: nodes, driveNodes: drives,
      topology: topology ?? self.topology, settings: settings
    ).all
    #expect(all.allSatisfy { !$0.problem.isEmpty && $0.remedy.contains("`") })
    return all.map(\.subject)
  }

  @Test func aQuietMachineHasNone() {
    #expect(subjects() == [])
    let quiet = subjects {
      ($0.numaBalancing, $0.zoneReclaimMode, $0.governor) = ("0", "0", "performance")
    }
    #expect(quiet == [])
  }

  /// What concerns nodes is none of the business of a machine with one.
  @Test func settingsOfTheKernelAreFound() {
    #expect(subjects { $0.numaBalancing = "1" } == ["NUMA balancing"])
    #expect(subjects { $0.zoneReclaimMode = "1" } == ["zone reclaim"])
    #expect(subjects(nodes: 1) { ($0.numaBalancing, $0.zoneReclaimMode) = ("1", "1") } == [])
  }

  /// `powersave` is slow under some drivers only.
  @Test func powersaveIsFoundWhereItIsSlow() {
    #expect(subjects(nodes: 1) { $0.governor = "powersave" } == ["frequency"])
    let dynamic = subjects {
      ($0.governor, $0.frequencyDriver) = ("powersave", "intel_pstate")
    }
    #expect(dynamic == [])
  }

  @Test func drivesBesideOtherNodesAreFound() {
    #expect(subjects(drives: [1]) == ["drives"])
    #expect(subjects(drives: [0, 1]) == [] && subjects(drives: [0]) == [])
  }

  @Test func hiddenNodesAreFound() {
    let hidden = Topology(
      nodes: topology.nodes, distances: topology.distances, isNumaVisible: false)
    #expect(subjects(topology: hidden) == ["NUMA"])
  }

  @Test func theRightToLockIsRead() {
    #expect(MachineFacts.Memory.mayLockAll(status: "Name:\tx\nCapEff:\t0000000000004000\n"))
    #expect(!MachineFacts.Memory.mayLockAll(status: "CapEff:\t000001ffffffbfff"))
    #expect(!MachineFacts.Memory.mayLockAll(status: ""))
  }
}

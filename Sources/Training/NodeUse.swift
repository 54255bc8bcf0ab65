import Base
import Kernels
import Paging
import PinnedMemory
import Storage

/// How a run uses the memory nodes of this machine: where its workers stay and its frames lie.
///
/// Nothing that is computed depends on it. On a machine with one node nothing is bound or pinned.
struct NodeUse: Sendable {
  let policy: NumaPolicy
  let topology: Topology
  /// The node of the training thread.
  let home: Int

  init(_ policy: NumaPolicy, _ topology: Topology = .current()) {
    self.policy = policy
    self.topology = topology
    home = topology.currentNode.id
  }

  init(_ config: RunConfig) {
    guard let policy = NumaPolicy(rawValue: config.memory.numa) else {
      preconditionFailure("a validated policy")
    }
    self.init(policy)
  }

  /// Each node with processors, the training thread's first; none where workers are left to the
  /// kernel.
  var workerGroups: [WorkerGroup] {
    let nodes = topology.cpuNodes
    guard policy == .local, nodes.count > 1 else { return [] }
    return (nodes.filter { $0.id == home } + nodes.filter { $0.id != home })
      .map { WorkerGroup(node: $0.id, processors: $0.cpus) }
  }

  /// Holds the calling thread on its node, as worker 0; nil where workers are left to the kernel.
  func pinCaller() -> ThreadPin? {
    guard let group = workerGroups.first else { return nil }
    return ThreadPin(to: group.processors)
  }

  /// How the frames of the pools are shared out. Measures the nodes first where there are tiers to
  /// be ordered.
  /// What the process allocates beside the pools is kept free on its own node.
  func sharing(
    _ plan: MemoryPlan, _ record: RecordGeometry, _ workers: Workers
  ) -> FrameSharing {
    let hasTiers = policy != .off && !topology.memoryOnlyNodes.isEmpty && topology.nodes.count > 1
    let pools = plan.frames.byteCount(record)
    let reserved = plan.fixed.reduce(0) { $0 + $1.bytes }
    return FrameSharing(
      policy, topology,
      bandwidth: hasTiers ? bandwidth(atMost: pools, beside: reserved, workers) : [:],
      reservedBytes: reserved, home: home)
  }

  /// Copied bytes per second on each node, by the workers nearest to it; the nodes take turns, so
  /// that whatever else the machine does hits all of them alike. A node without room for pools is
  /// not in it.
  private func bandwidth(
    atMost bytes: Int, beside reserved: Int, _ workers: Workers
  ) -> [Int: Double] {
    let probes = topology.nodes.compactMap { node in
      let room = node.roomBytes(reservedBytes: node.id == home ? reserved : 0)
      return NodeProbe(
        node, bytes: min(bytes / topology.nodes.count, room / 2),
        workers.on(topology.cpuNode(nearest: node.id)?.id))
    }
    let start = ContinuousClock.now
    repeat {
      for probe in probes { probe.copy() }
    } while ContinuousClock.now - start < .milliseconds(50 * probes.count)
    return Dictionary(uniqueKeysWithValues: probes.map { ($0.node, $0.rate) })
  }
}

/// Copies one half of some memory of a node to the other, and keeps the best time.
private final class NodeProbe {
  let node: Int
  private let region: PinnedRegion
  private let workers: Workers
  private var best = Duration.seconds(1000)

  /// Large enough not to stay in a cache.
  private static let bytesMax = 256 << 20

  /// nil when there are no `bytes` for it.
  init?(_ node: Topology.Node, bytes: Int, _ workers: Workers) {
    let size = min(bytes, Self.bytesMax) / 8192 * 8192
    guard size > 0,
      let region = try? PinnedRegion(
        name: "bandwidth of node \(node.id)", byteCount: size, placement: .node(node.id),
        ledger: MemoryLedger(ceiling: size))
    else { return nil }
    (self.node, self.workers) = (node.id, workers)
    self.region = region
  }

  func copy() {
    let floats = unsafe FloatStream(region.memory.bytes)
    let half = floats.count / 2
    let start = ContinuousClock.now
    floats.part(0..<half).copy(from: floats.part(half..<2 * half), on: workers)
    best = min(best, ContinuousClock.now - start)
  }

  /// Bytes per second, read and written.
  var rate: Double { Double(region.memory.byteCount) / (best / .seconds(1)) }
}

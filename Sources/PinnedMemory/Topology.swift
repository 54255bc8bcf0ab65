internal import Base
internal import CNuma
import Glibc

/// The memory nodes of this machine and the processors beside them.
package struct Topology: Sendable, Equatable {
  package struct Node: Sendable, Equatable {
    package let id: Int
    /// Processors of the node that this process may use; none for memory alone (CXL, on-package
    /// HBM, or a node whose processors belong to others).
    package let cpus: [Int]
    package let memoryBytes: Int
    package let freeBytes: Int
    /// What a pool may count on: free memory, and half of the page cache, which yields to it.
    package let availableBytes: Int
    package var isMemoryOnly: Bool { cpus.isEmpty }

    package init(
      id: Int, cpus: [Int], memoryBytes: Int, freeBytes: Int, availableBytes: Int? = nil
    ) {
      (self.id, self.cpus) = (id, cpus)
      (self.memoryBytes, self.freeBytes) = (memoryBytes, freeBytes)
      self.availableBytes = availableBytes ?? freeBytes
    }

    /// What pools may take of it. A node that is filled to the last page stalls the kernel: some of
    /// it stays free.
    /// - Parameter reservedBytes: for what else the process will allocate there.
    package func roomBytes(reservedBytes: Int) -> Int {
      max(0, availableBytes - memoryBytes / 32 - reservedBytes)
    }
  }

  /// Nodes with memory that this process may use, in ascending order of id; at least one.
  package let nodes: [Node]
  /// `distances[i][j]` from `nodes[i]` to `nodes[j]`, as the firmware says: 10 is a node itself.
  package let distances: [[Int]]
  /// False where the kernel hides its nodes (many containers): all is shown as one node then.
  package let isNumaVisible: Bool

  /// Processors of nodes without memory are counted to the nearest node that has some.
  /// - Parameter distances: between `nodes`, in their order.
  package init(nodes: [Node], distances: [[Int]], isNumaVisible: Bool = true) {
    precondition(distances.count == nodes.count, "one row of distances a node")
    precondition(distances.allSatisfy { $0.count == nodes.count }, "one distance a pair")
    let kept = nodes.indices.filter { nodes[$0].memoryBytes > 0 }
    precondition(!kept.isEmpty, "some node has memory")
    var guests: [Int: [Int]] = [:]
    for index in nodes.indices where nodes[index].memoryBytes == 0 {
      let nearest = kept.min { distances[index][$0] < distances[index][$1] }!
      guests[nearest, default: []] += nodes[index].cpus
    }
    self.nodes = kept.map { index in
      let node = nodes[index]
      return Node(
        id: node.id, cpus: (node.cpus + (guests[index] ?? [])).sorted(),
        memoryBytes: node.memoryBytes, freeBytes: node.freeBytes,
        availableBytes: node.availableBytes)
    }
    self.distances = kept.map { from in kept.map { distances[from][$0] } }
    self.isNumaVisible = isNumaVisible
  }

  package var cpuNodes: [Node] { nodes.filter { !$0.isMemoryOnly } }
  package var memoryOnlyNodes: [Node] { nodes.filter(\.isMemoryOnly) }

  /// The node with processors that is nearest to node `id`: itself, if it has any.
  package func cpuNode(nearest id: Int) -> Node? {
    guard let from = nodes.firstIndex(where: { $0.id == id }) else { return nil }
    return nodes.indices.filter { !nodes[$0].isMemoryOnly }
      .min { distances[from][$0] < distances[from][$1] }.map { nodes[$0] }
  }

  /// The node of the processor that the caller runs on.
  package var currentNode: Node {
    let cpu = Int(sched_getcpu())
    return nodes.first { $0.cpus.contains(cpu) } ?? cpuNodes.first ?? nodes[0]
  }
}

// MARK: - This machine

extension Topology {
  /// What the kernel says now.
  package static func current() -> Topology {
    guard numa_available() >= 0, let mayUse = unsafe numa_get_mems_allowed() else {
      return oneNode()
    }
    defer { unsafe numa_bitmask_free(mayUse) }
    let nodes = (0...Int(numa_max_node())).compactMap { id in
      node(id, isAllowed: unsafe numa_bitmask_isbitset(mayUse, UInt32(id)) != 0)
    }
    guard nodes.contains(where: { $0.memoryBytes > 0 }) else { return oneNode() }
    return Topology(
      nodes: nodes,
      distances: nodes.map { from in
        nodes.map { Int(numa_distance(Int32(from.id), Int32($0.id))) }
      })
  }

  /// Processors this process was given when it first looked; pinning a thread later changes none.
  private static let ownProcessors = Set(Affinity.processors(of: getpid()))

  /// Memory that may not be used counts as none.
  private static func node(_ id: Int, isAllowed: Bool) -> Node? {
    guard let mask = unsafe numa_allocate_cpumask() else { return nil }
    defer { unsafe numa_bitmask_free(mask) }
    guard unsafe numa_node_to_cpus(Int32(id), mask) == 0 else { return nil }
    let cpus = ownProcessors.sorted().filter {
      unsafe numa_bitmask_isbitset(mask, UInt32($0)) != 0
    }
    var free: Int64 = 0
    let total = isAllowed ? max(0, unsafe numa_node_size64(Int32(id), &free)) : 0
    guard total > 0 || !cpus.isEmpty else { return nil }
    return Node(
      id: id, cpus: cpus, memoryBytes: Int(total), freeBytes: Int(free),
      availableBytes: Int(free) + pageCacheBytes(id) / 2)
  }

  private static func pageCacheBytes(_ id: Int) -> Int {
    let info = nodeMeminfo(text(of: "/sys/devices/system/node/node\(id)/meminfo") ?? "")
    return (info["Active(file)"] ?? 0) + (info["Inactive(file)"] ?? 0)
  }

  private static func oneNode() -> Topology {
    let pageBytes = sysconf(Int32(_SC_PAGESIZE))
    let info = meminfo(text(of: "/proc/meminfo") ?? "")
    let free = sysconf(Int32(_SC_AVPHYS_PAGES)) * pageBytes
    let node = Node(
      id: 0, cpus: ownProcessors.sorted(), memoryBytes: sysconf(Int32(_SC_PHYS_PAGES)) * pageBytes,
      freeBytes: free, availableBytes: info["MemAvailable"] ?? free)
    return Topology(nodes: [node], distances: [[10]], isNumaVisible: false)
  }
}

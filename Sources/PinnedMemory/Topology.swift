internal import CNuma
import Glibc

/// The memory nodes of this machine and the processors beside them.
package struct Topology: Sendable {
  package struct Node: Sendable {
    package let id: Int
    /// Processors of the node; none for memory-only nodes (CXL, on-package HBM).
    package let cpus: [Int]
    package let memoryBytes: Int
    package let freeBytes: Int
  }

  /// In ascending order of id; at least one.
  package let nodes: [Node]
  /// False where the kernel hides its nodes (many containers): all is shown as one node then.
  package let isNumaVisible: Bool

  /// What the kernel says now.
  package static func current() -> Topology {
    guard numa_available() >= 0 else {
      return Topology(nodes: [wholeMachine()], isNumaVisible: false)
    }
    let nodes = (0...Int(numa_max_node())).compactMap(node)
    return nodes.isEmpty
      ? Topology(nodes: [wholeMachine()], isNumaVisible: false)
      : Topology(nodes: nodes, isNumaVisible: true)
  }

  /// The node beside the caller's processor, for a pool of `byteCount` bytes; nil where binding would
  /// mean nothing (one node) or fail (not so much free there).
  package func localNode(holding byteCount: Int) -> Int? {
    guard nodes.count > 1 else { return nil }
    let cpu = Int(sched_getcpu())
    guard let node = nodes.first(where: { $0.cpus.contains(cpu) }) else { return nil }
    return node.freeBytes > byteCount ? node.id : nil
  }

  private static func node(_ id: Int) -> Node? {
    var free: Int64 = 0
    let total = unsafe numa_node_size64(Int32(id), &free)
    guard total > 0 else { return nil }
    guard let mask = unsafe numa_allocate_cpumask() else { return nil }
    defer { unsafe numa_bitmask_free(mask) }
    guard unsafe numa_node_to_cpus(Int32(id), mask) == 0 else { return nil }
    let cpus = (0..<Int(numa_num_configured_cpus())).filter {
      unsafe numa_bitmask_isbitset(mask, UInt32($0)) != 0
    }
    return Node(id: id, cpus: cpus, memoryBytes: Int(total), freeBytes: Int(free))
  }

  private static func wholeMachine() -> Node {
    let pageBytes = sysconf(Int32(_SC_PAGESIZE))
    return Node(
      id: 0, cpus: Array(0..<sysconf(Int32(_SC_NPROCESSORS_ONLN))),
      memoryBytes: sysconf(Int32(_SC_PHYS_PAGES)) * pageBytes,
      freeBytes: sysconf(Int32(_SC_AVPHYS_PAGES)) * pageBytes)
  }
}

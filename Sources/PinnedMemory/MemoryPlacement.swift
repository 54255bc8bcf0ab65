/// Which memory nodes hold the pages of a region.
package enum MemoryPlacement: Hashable, Sendable {
  /// Wherever the kernel puts them: beside the processor that touches them first.
  case anywhere
  /// All on one node.
  case node(Int)
  /// In turn on each of several nodes.
  case interleaved([Int])

  /// The node of every page; nil where that is not one.
  package var node: Int? {
    guard case .node(let id) = self else { return nil }
    return id
  }

  /// The nodes asked for; empty means any.
  package var nodes: [Int] {
    switch self {
    case .anywhere: []
    case .node(let id): [id]
    case .interleaved(let ids): ids
    }
  }
}

/// How pools use the memory nodes of a machine with several; with one node all are the same.
package enum NumaPolicy: String, CaseIterable, Sendable {
  /// Each node has frames of its own, and workers beside them.
  case local
  /// Pages in turn on all nodes with processors: even bandwidth for every worker.
  case interleave
  /// The kernel's own: the node of the thread that touches a page first.
  case off
}

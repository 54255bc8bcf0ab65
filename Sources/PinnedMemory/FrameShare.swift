internal import Base

/// Frames of one pool on one node, or spread over several.
package struct FrameShare: Hashable, Sendable {
  package let placement: MemoryPlacement
  package let frames: Int
  /// 0 is the fastest memory; frames of a slower one are given out when it is used up.
  package let tier: Int

  package init(_ placement: MemoryPlacement, frames: Int, tier: Int = 0) {
    (self.placement, self.frames, self.tier) = (placement, frames, tier)
  }
}

/// Shares out the frames of pools over the memory nodes of a machine, one pool after another.
///
/// Nodes stand in tiers, fastest first: all nodes with processors are one, each node of memory
/// alone is one by itself. A tier takes what it has room for; the next takes the rest. Where
/// nothing has room the kernel decides.
package struct FrameSharing: Sendable {
  private let policy: NumaPolicy
  private let tiers: [[Topology.Node]]
  private var roomBytes: [Int: Int]

  /// So much faster must memory alone be to come before nodes with processors: noise of the
  /// measurement must not send pools away from them.
  private static let faster = 1.25

  /// - Parameters:
  ///   - bandwidth: bytes or anything else per second, by node; nodes that are not in it count as
  ///     slow.
  ///   - reservedBytes: on `home`, for what else the process will allocate.
  package init(
    _ policy: NumaPolicy, _ topology: Topology, bandwidth: [Int: Double] = [:],
    reservedBytes: Int = 0, home: Int? = nil
  ) {
    self.policy = policy
    let near = topology.cpuNodes
    let nearBandwidth =
      near.map { bandwidth[$0.id] ?? .infinity }.reduce(0, +) / Double(max(1, near.count))
    let alone = topology.memoryOnlyNodes
      .map { (node: $0, bandwidth: bandwidth[$0.id] ?? 0) }
      .sorted { ($1.bandwidth, $0.node.id) < ($0.bandwidth, $1.node.id) }
    let faster = alone.filter { $0.bandwidth > nearBandwidth * Self.faster }
    tiers = (faster.map { [$0.node] } + [near] + alone.dropFirst(faster.count).map { [$0.node] })
      .filter { !$0.isEmpty }
    roomBytes = Dictionary(
      uniqueKeysWithValues: topology.nodes.map { node in
        (node.id, node.roomBytes(reservedBytes: node.id == home ? reservedBytes : 0))
      })
  }

  /// Wherever the kernel puts them.
  package static var anywhere: FrameSharing { FrameSharing(.off, .current()) }

  /// The shares of a pool of `frames` frames; all of them together.
  package mutating func share(frames: Int, frameBytes: Int) -> [FrameShare] {
    precondition(frames > 0 && frameBytes > 0, "a pool has frames")
    guard policy != .off, tiers.count > 1 || tiers[0].count > 1 else {
      return [FrameShare(.anywhere, frames: frames)]
    }
    var shares: [FrameShare] = []
    var left = frames
    for (index, tier) in tiers.enumerated() where left > 0 {
      let parts =
        policy == .interleave && tier.count > 1
        ? interleaved(left, frameBytes, over: tier) : proportional(left, frameBytes, over: tier)
      for (placement, frames) in parts {
        for id in placement.nodes {
          roomBytes[id]! -= frames * frameBytes / placement.nodes.count
        }
        left -= frames
        shares.append(FrameShare(placement, frames: frames, tier: index))
      }
    }
    if left > 0 { shares.append(FrameShare(.anywhere, frames: left, tier: tiers.count)) }
    return shares
  }

  private func interleaved(
    _ frames: Int, _ frameBytes: Int, over tier: [Topology.Node]
  ) -> [(MemoryPlacement, frames: Int)] {
    let room = tier.map { roomBytes[$0.id]! }.min()! * tier.count / frameBytes
    let count = min(frames, room)
    return count > 0 ? [(.interleaved(tier.map(\.id)), count)] : []
  }

  /// In proportion to processors, as far as each node has room; what one lacks the others give.
  private func proportional(
    _ frames: Int, _ frameBytes: Int, over tier: [Topology.Node]
  ) -> [(MemoryPlacement, frames: Int)] {
    let room = tier.map { max(0, roomBytes[$0.id]! / frameBytes) }
    var counts = tier.map { _ in 0 }
    var left = frames
    while left > 0 {
      let open = tier.indices.filter { counts[$0] < room[$0] }
      if open.isEmpty { break }
      let weights = open.map { max(1, tier[$0].cpus.count) }
      let given = apportion(left, weights)
      for (index, share) in zip(open, given) {
        let taken = min(share, room[index] - counts[index])
        counts[index] += taken
        left -= taken
      }
    }
    return tier.indices.filter { counts[$0] > 0 }
      .map { (.node(tier[$0].id), counts[$0]) }
  }
}

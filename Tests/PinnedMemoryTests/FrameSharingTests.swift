import PinnedMemory
import Testing

/// How pools are shared out on machines of all kinds. A frame is 1 MiB here, sizes are in MiB.
@Suite struct FrameSharingTests {
  private static let mebibyte = 1 << 20

  /// Nodes of `cpus` processors and `room` MiB to spare beyond what always stays free.
  private static func machine(_ nodes: [(cpus: Int, room: Int)]) -> Topology {
    var next = 0
    let described = nodes.enumerated().map { id, node in
      defer { next += node.cpus }
      // A thirty-second of the memory stays free.
      return Topology.Node(
        id: id, cpus: Array(next..<next + node.cpus), memoryBytes: 3200 * mebibyte,
        freeBytes: (node.room + 100) * mebibyte)
    }
    let distances = nodes.indices.map { i in nodes.indices.map { $0 == i ? 10 : 20 } }
    return Topology(nodes: described, distances: distances)
  }

  private func shares(
    _ policy: NumaPolicy, _ machine: Topology, frames: Int, bandwidth: [Int: Double] = [:]
  ) -> [FrameShare] {
    var sharing = FrameSharing(policy, machine, bandwidth: bandwidth)
    return sharing.share(frames: frames, frameBytes: Self.mebibyte)
  }

  @Test(arguments: NumaPolicy.allCases) func oneNodeIsLeftToTheKernel(_ policy: NumaPolicy) {
    let machine = Self.machine([(8, 1000)])
    #expect(shares(policy, machine, frames: 77) == [FrameShare(.anywhere, frames: 77)])
  }

  @Test func offIsLeftToTheKernel() {
    let machine = Self.machine([(8, 1000), (8, 1000), (0, 1000)])
    #expect(shares(.off, machine, frames: 9) == [FrameShare(.anywhere, frames: 9)])
  }

  /// Twice the processors, twice the frames; no frame is lost in rounding.
  @Test func localSharesInProportionToProcessors() {
    let machine = Self.machine([(2, 1000), (4, 1000)])
    #expect(
      shares(.local, machine, frames: 100) == [
        FrameShare(.node(0), frames: 33), FrameShare(.node(1), frames: 67),
      ])
    #expect(shares(.local, machine, frames: 1) == [FrameShare(.node(1), frames: 1)])
  }

  /// A node that is nearly full gives what it lacks to the other.
  @Test func aFullNodeIsRelieved() {
    let machine = Self.machine([(4, 10), (4, 1000)])
    #expect(
      shares(.local, machine, frames: 100) == [
        FrameShare(.node(0), frames: 10), FrameShare(.node(1), frames: 90),
      ])
  }

  /// Memory alone takes what the nodes with processors cannot, the faster one first, and what
  /// nobody has room for is the kernel's business.
  @Test func slowMemoryTakesTheRest() {
    let machine = Self.machine([(2, 10), (2, 10), (0, 30), (0, 40)])
    let bandwidth = [0: 100.0, 1: 100, 2: 20, 3: 50]
    #expect(
      shares(.local, machine, frames: 100, bandwidth: bandwidth) == [
        FrameShare(.node(0), frames: 10), FrameShare(.node(1), frames: 10),
        FrameShare(.node(3), frames: 40, tier: 1), FrameShare(.node(2), frames: 30, tier: 2),
        FrameShare(.anywhere, frames: 10, tier: 3),
      ])
  }

  /// Memory on the package is faster than the nodes with processors: it comes first.
  @Test func fastMemoryComesFirst() {
    let machine = Self.machine([(2, 100), (2, 100), (0, 30)])
    let bandwidth = [0: 100.0, 1: 100, 2: 400]
    #expect(
      shares(.local, machine, frames: 50, bandwidth: bandwidth) == [
        FrameShare(.node(2), frames: 30), FrameShare(.node(0), frames: 10, tier: 1),
        FrameShare(.node(1), frames: 10, tier: 1),
      ])
  }

  /// A little faster is noise, and what was not measured is slow.
  @Test func memoryBesideProcessorsComesFirstUnlessClearlySlower() {
    let machine = Self.machine([(2, 100), (0, 30)])
    for bandwidth in [[0: 100.0, 1: 120], [0: 100], [:], [1: 50]] {
      #expect(
        shares(.local, machine, frames: 20, bandwidth: bandwidth)
          == [FrameShare(.node(0), frames: 20)])
    }
  }

  /// Interleaved pages fill all nodes with processors alike: the fullest one decides.
  @Test func interleavingEndsWhereTheFullestNodeDoes() {
    let machine = Self.machine([(2, 10), (2, 100), (0, 100)])
    #expect(
      shares(.interleave, machine, frames: 8) == [FrameShare(.interleaved([0, 1]), frames: 8)])
    #expect(
      shares(.interleave, machine, frames: 30) == [
        FrameShare(.interleaved([0, 1]), frames: 20), FrameShare(.node(2), frames: 10, tier: 1),
      ])
  }

  /// The second pool finds what the first one left, and nobody takes what is reserved.
  @Test func poolsAndReservesAddUp() {
    var sharing = FrameSharing(
      .local, Self.machine([(1, 50), (1, 50)]), reservedBytes: 20 * Self.mebibyte, home: 0)
    #expect(
      sharing.share(frames: 40, frameBytes: Self.mebibyte) == [
        FrameShare(.node(0), frames: 20), FrameShare(.node(1), frames: 20),
      ])
    #expect(
      sharing.share(frames: 20, frameBytes: 2 * Self.mebibyte) == [
        FrameShare(.node(0), frames: 5), FrameShare(.node(1), frames: 15),
      ])
  }
}

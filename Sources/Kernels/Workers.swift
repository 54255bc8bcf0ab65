package import Base
package import Tracing

/// A pool of threads for the loops of one training thread.
///
/// `forEach` hands indices out one by one; the caller takes part. Which thread gets which index is
/// chance, so a task must write only what belongs to its index: then results do not depend on the
/// number of threads. Threads spin for 20 microseconds between loops and then sleep; one that wakes
/// late finds the loop closed and costs nothing.
///
/// Where a machine has several memory nodes, each worker may be held on the processors of one, and
/// a loop may be given to the workers of one node alone: `on`.
package final class Workers: Sendable {
  /// Threads that compute, the caller included.
  package let count: Int
  private let shared: WorkerState
  /// The workers of each group, in its order; empty without groups.
  private let groups: [(node: Int, members: Range<Int>)]
  /// Who takes part in the loops of this view.
  private let members: Range<Int>
  /// The pool that this is a view of; nil for the pool itself, which owns the threads.
  private let pool: Workers?

  /// Workers without threads: every loop runs on the caller. May be used inside a task.
  package static let inline = Workers(count: 1)

  /// - Parameter groups: processors by memory node; workers are shared out over them in proportion
  ///   and stay there, except worker 0, the caller, who belongs to the first and is left alone. None
  ///   means wherever the kernel puts them.
  package init(count: Int, groups: [WorkerGroup] = []) {
    precondition(count >= 1 && count <= 4096, "from 1 to 4096 workers, the caller included")
    precondition(groups.allSatisfy { !$0.processors.isEmpty }, "a group has processors")
    self.count = count
    members = 0..<count
    pool = nil
    self.groups = Self.shareOut(count, groups)
    shared = WorkerState()
    for worker in 1..<count {
      let group = self.groups.firstIndex { $0.members.contains(worker) }
      shared.start(worker, on: group.map { groups[$0].processors })
    }
  }

  /// The workers of `group` in `pool`.
  private init(of pool: Workers, members: Range<Int>) {
    (self.pool, self.members) = (pool, members)
    (count, shared, groups) = (pool.count, pool.shared, pool.groups)
  }

  deinit { if pool == nil { shared.stopAndJoin() } }

  /// The same pool with loops for the workers of `node` only; all of them where the node is nil or
  /// has none.
  package func on(_ node: Int?) -> Workers {
    guard groups.count > 1, let node,
      let group = groups.first(where: { $0.node == node }), !group.members.isEmpty
    else { return self }
    return Workers(of: pool ?? self, members: group.members)
  }

  /// Runs `body` over strips of 0..<columns, one for each worker where that leaves them wide: for what
  /// goes down the rows in order, so that no sum depends on the width. Narrow strips of long rows would
  /// touch a page for a line or two.
  package func forEachStrip(of columns: Int, _ body: @Sendable (Range<Int>) -> Void) {
    let floatsPerLine = 16
    let lines = (columns + floatsPerLine - 1) / floatsPerLine
    let width = max(4, (lines + count - 1) / count) * floatsPerLine
    forEachChunk(of: columns, size: width, body)
  }

  /// How many of the workers are on `node`; all, where they are not in groups.
  package func count(on node: Int) -> Int {
    groups.isEmpty ? count : groups.first { $0.node == node }?.members.count ?? 0
  }

  /// Notes the loops that are shared out from now on. For the caller of loops, between two of them.
  package func record(with trace: Trace) { shared.trace = trace }

  /// Runs `body`, whose loops share their caller's thread with `interlude`: it is called after each of
  /// them, so that what cannot wait for the end of `body` gets on. Loops of its own have none.
  /// For the thread that owns the pool; not for `inline`, which threads share.
  package func run<Result>(
    _ body: () throws -> Result, between interlude: () -> Void
  ) rethrows -> Result {
    precondition(self !== Workers.inline, "an interlude runs on the thread that owns the pool")
    return try withoutActuallyEscaping(interlude) { interlude in
      let outer = shared.interlude
      shared.interlude = interlude
      defer { shared.interlude = outer }
      return try body()
    }
  }

  /// Has `work` done by workers that wait: for the next loop, or for the end of one. Its tasks are to be
  /// short, some 10 microseconds: a loop that begins meanwhile begins without that worker. Nobody is
  /// woken for it; who needs it finishes it. May be called on any thread. One worker alone has nobody to wait
  /// for, and takes nothing.
  package func offer(_ work: SpareWork) {
    if count > 1 { shared.offer(work) }
  }

  /// Runs `body` for every index in 0..<count, in any order, on any worker. Not reentrant.
  package func forEach(_ count: Int, _ body: @Sendable (_ index: Int) -> Void) {
    forEach(count) { index, _ in body(index) }
  }

  /// As above; `worker` in 0..<self.count names the thread, for scratch memory of its own.
  package func forEach(
    _ count: Int, _ body: @Sendable (_ index: Int, _ worker: Int) -> Void
  ) {
    shared.pausing {
      if members != 0..<1, count > 1 {
        withoutActuallyEscaping(body) { body in shared.run(count, on: members, body) }
      } else {
        for index in 0..<count { body(index, 0) }
      }
    }
  }

  /// Runs `body` over 0..<count in chunks of `size`, the last one shorter. `size` is a constant of
  /// the kernel, never of the machine, where it decides the order of a sum.
  package func forEachChunk(
    of count: Int, size: Int, _ body: @Sendable (Range<Int>) -> Void
  ) {
    precondition(size > 0, "a chunk has elements")
    forEach((count + size - 1) / size) { chunk in
      body(chunk * size..<min(count, (chunk + 1) * size))
    }
  }

  /// Worker 0 is in the first group; the others are shared out in proportion to what is left.
  private static func shareOut(
    _ count: Int, _ groups: [WorkerGroup]
  ) -> [(node: Int, members: Range<Int>)] {
    guard !groups.isEmpty else { return [] }
    var weights = groups.map(\.processors.count)
    if weights.reduce(0, +) > 1 { weights[0] -= 1 }
    var parts = apportion(count - 1, weights)
    parts[0] += 1
    var first = 0
    return zip(groups, parts).map { group, part in
      defer { first += part }
      return (group.node, first..<first + part)
    }
  }
}

/// The processors of one memory node.
package struct WorkerGroup: Hashable, Sendable {
  package let node: Int
  package let processors: [Int]

  package init(node: Int, processors: [Int]) {
    (self.node, self.processors) = (node, processors)
  }
}

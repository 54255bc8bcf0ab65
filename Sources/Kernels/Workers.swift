/// A pool of threads for the loops of one training thread.
///
/// `forEach` hands indices out one by one; the caller takes part. Which thread gets which index is
/// chance, so a task must write only what belongs to its index: then results do not depend on the
/// number of threads. Threads spin for 20 microseconds between loops and then sleep; one that wakes
/// late finds the loop closed and costs nothing.
package final class Workers: Sendable {
  /// Threads that compute, the caller included.
  package let count: Int
  private let shared: WorkerState

  /// Workers without threads: every loop runs on the caller. May be used inside a task.
  package static let inline = Workers(count: 1)

  package init(count: Int) {
    precondition(count >= 1 && count <= 4096, "from 1 to 4096 workers, the caller included")
    self.count = count
    shared = WorkerState()
    for worker in 1..<count { shared.start(worker) }
  }

  deinit { shared.stopAndJoin() }

  /// Runs `body` for every index in 0..<count, in any order, on any worker. Not reentrant.
  package func forEach(_ count: Int, _ body: @Sendable (_ index: Int) -> Void) {
    forEach(count) { index, _ in body(index) }
  }

  /// As above; `worker` in 0..<self.count names the thread, for scratch memory of its own.
  package func forEach(
    _ count: Int, _ body: @Sendable (_ index: Int, _ worker: Int) -> Void
  ) {
    guard self.count > 1, count > 1 else {
      for index in 0..<count { body(index, 0) }
      return
    }
    withoutActuallyEscaping(body) { body in shared.run(count, body) }
  }

  /// Runs `body` over 0..<count in chunks of `size`, the last one shorter. `size` is a constant of
  /// the kernel, never of the machine: it may decide the order of a sum.
  package func forEachChunk(
    of count: Int, size: Int, _ body: @Sendable (Range<Int>) -> Void
  ) {
    precondition(size > 0, "a chunk has elements")
    forEach((count + size - 1) / size) { chunk in
      body(chunk * size..<min(count, (chunk + 1) * size))
    }
  }
}

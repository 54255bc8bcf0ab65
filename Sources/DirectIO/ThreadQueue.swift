import Glibc
package import PinnedMemory

/// Requests carried out by a pool of threads, for machines that refuse io_uring. A system call and
/// two thread switches more per request.
package struct ThreadQueue: RequestQueue, ~Copyable {
  package static let engine = "threads"
  /// More threads only compete: they wait for the drive, not for each other.
  private static let threadsMax = 8

  private let pool: WorkerPool
  private var threads: [pthread_t]
  private var prepared: [WorkerPool.Task] = []

  /// - Parameter depth: requests that will be under way at once, at most.
  package init(depth: Int) {
    pool = WorkerPool()
    threads = pool.start(min(depth, Self.threadsMax))
  }

  deinit { Self.stop(pool, threads) }

  package mutating func register(_ file: OpenFile) {}
  /// System calls look memory up themselves.
  package mutating func register(_ memory: PinnedSlice) -> Int { 0 }
  package mutating func unregister(_ memory: PinnedSlice) -> Int { 0 }

  package mutating func prepare(_ request: Request, tag: Int) {
    precondition(!threads.isEmpty, "the disk is open")
    prepared.append(WorkerPool.Task(request: request, tag: tag))
  }

  package mutating func enter(wait: Bool) {
    if !prepared.isEmpty {
      pool.add(prepared)
      prepared.removeAll(keepingCapacity: true)
    }
    if wait { pool.waitForAnswer() }
  }

  package mutating func nextAnswer() -> (tag: Int, result: Int)? { pool.nextAnswer() }
  package mutating func notify(_ event: EventDescriptor) throws(DiskError) { pool.notify(event) }
  package var isReady: Bool { pool.hasAnswer }

  package mutating func close() {
    Self.stop(pool, threads)
    threads = []
  }

  private static func stop(_ pool: WorkerPool, _ threads: [pthread_t]) {
    pool.stop()
    for thread in threads { pthread_join(thread, nil) }
  }
}

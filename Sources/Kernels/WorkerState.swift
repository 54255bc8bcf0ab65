import Base
import Glibc
import Synchronization
import Tracing

/// What the threads of a pool share. Kept alive by the threads themselves.
///
/// One word says everything about the current loop:
///
///     63          32 31      30           0
///     | generation  | closed |  running   |
///
/// A thread joins a loop by adding one to `running` while the loop is open; whoever finds no index
/// left closes it, and the caller waits until it is closed and `running` is zero. `job` is written
/// only while the loop is closed and nobody runs, and read only by threads that joined: that is why
/// @unchecked Sendable holds.
@safe final class WorkerState: @unchecked Sendable {
  typealias Body = @Sendable (_ index: Int, _ worker: Int) -> Void

  private let word = Atomic<UInt64>(1 << 31)
  private let next = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  private var job: (count: Int, members: Range<Int>, body: Body, recorder: TraceRecorder?)?
  /// What loops are noted with; read and written by the caller between two of them.
  var trace = Trace.off
  /// What the caller does after each of its loops; written by the caller alone, and nil in a loop, where
  /// all threads may read it.
  var interlude: (() -> Void)?
  private var threads: [pthread_t] = []
  /// Guards sleeping only; the two conditions are "a loop opened" and "the last thread left".
  private let lock: UnsafeMutablePointer<pthread_mutex_t>
  private let opened: UnsafeMutablePointer<pthread_cond_t>
  private let finished: UnsafeMutablePointer<pthread_cond_t>
  private let isBusy = Atomic<Bool>(false)
  /// What threads do that would spin, the oldest first; how much of it there is.
  private let spare = Mutex<[SpareWork]>([])
  private let spareCount = Atomic<Int>(0)

  private static let closedBit: UInt64 = 1 << 31
  private static let runningMask: UInt64 = (1 << 31) - 1
  private static let spinNanoseconds: UInt64 = 20_000

  init() {
    unsafe lock = .allocate(capacity: 1)
    unsafe opened = .allocate(capacity: 1)
    unsafe finished = .allocate(capacity: 1)
    unsafe pthread_mutex_init(lock, nil)
    unsafe pthread_cond_init(opened, nil)
    unsafe pthread_cond_init(finished, nil)
  }

  deinit {
    unsafe pthread_cond_destroy(finished)
    unsafe pthread_cond_destroy(opened)
    unsafe pthread_mutex_destroy(lock)
    unsafe finished.deallocate()
    unsafe opened.deallocate()
    unsafe lock.deallocate()
  }

  // MARK: The caller's side

  /// Runs a loop on the workers `members`; the caller, worker 0, need not be one of them.
  func run(_ count: Int, on members: Range<Int>, _ body: @escaping Body) {
    precondition(!isBusy.exchange(true, ordering: .acquiring), "forEach inside forEach")
    job = (count, members, body, trace.recording)
    next.store(0, ordering: .relaxed)
    open()
    drain(worker: 0)
    waitUntilDone()
    job = nil
    isBusy.store(false, ordering: .releasing)
  }

  /// Runs a loop and after it the interlude, if there is one. Loops inside either have none: they may be
  /// on another thread, and what the outer loop is at is not done.
  func pausing(after loop: () -> Void) {
    guard let interlude else { return loop() }
    self.interlude = nil
    loop()
    interlude()
    self.interlude = interlude
  }

  private func open() {
    let generation = (word.load(ordering: .relaxed) >> 32) &+ 1
    word.store(generation << 32, ordering: .sequentiallyConsistent)
    unsafe pthread_mutex_lock(lock)
    unsafe pthread_cond_broadcast(opened)
    unsafe pthread_mutex_unlock(lock)
  }

  private func waitUntilDone() {
    if spin(until: { self.isDone }) { return }
    unsafe pthread_mutex_lock(lock)
    while !isDone { unsafe pthread_cond_wait(finished, lock) }
    unsafe pthread_mutex_unlock(lock)
  }

  private var isDone: Bool { Self.isDone(word.load(ordering: .acquiring)) }

  private static func isDone(_ word: UInt64) -> Bool {
    word & closedBit != 0 && word & runningMask == 0
  }

  // MARK: The threads' side

  /// - Parameter processors: where the thread may run; nil leaves it to the kernel.
  func start(_ worker: Int, on processors: [Int]?) {
    threads.append(
      startThread("worker") {
        if let processors { Affinity.restrict(to: processors) }
        self.serve(worker)
      })
  }

  func stopAndJoin() {
    stopping.store(true, ordering: .releasing)
    open()
    for thread in threads { pthread_join(thread, nil) }
  }

  /// The life of a thread: wait for a loop, join it, leave it.
  func serve(_ worker: Int) {
    var seen: UInt64 = 0
    while true {
      seen = waitForLoop(after: seen)
      if stopping.load(ordering: .acquiring) { return }
      guard join(generation: seen) else { continue }
      drain(worker: worker)
      leave()
    }
  }

  private func drain(worker: Int) {
    guard let job, job.members.contains(worker) else { return }
    let start = job.recorder == nil ? 0 : nanoseconds()
    var tasks = 0
    while true {
      let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
      if index >= job.count { break }
      job.body(index, worker)
      tasks += 1
    }
    let recorder = job.recorder
    let end = recorder == nil ? 0 : nanoseconds()
    word.bitwiseOr(Self.closedBit, ordering: .acquiringAndReleasing)
    recorder?.loop(worker: worker, tasks: tasks, from: start, to: end)
  }

  private func waitForLoop(after seen: UInt64) -> UInt64 {
    if spin(until: { self.generation != seen }) { return generation }
    unsafe pthread_mutex_lock(lock)
    while generation == seen { unsafe pthread_cond_wait(opened, lock) }
    unsafe pthread_mutex_unlock(lock)
    return generation
  }

  private var generation: UInt64 { word.load(ordering: .acquiring) >> 32 }

  /// Whether the loop was still open and is now joined.
  private func join(generation: UInt64) -> Bool {
    var current = word.load(ordering: .acquiring)
    while current >> 32 == generation && current & Self.closedBit == 0 {
      let (exchanged, original) = word.weakCompareExchange(
        expected: current, desired: current + 1, ordering: .acquiringAndReleasing)
      if exchanged { return true }
      current = original
    }
    return false
  }

  private func leave() {
    let now = word.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue
    guard Self.isDone(now) else { return }
    unsafe pthread_mutex_lock(lock)
    unsafe pthread_cond_signal(finished)
    unsafe pthread_mutex_unlock(lock)
  }

  /// Polls for a short while. A piece of spare work is the pause between two looks or, where there is
  /// none, reading the clock: as long as there is some a thread does not give up, whatever else the system
  /// has it wait for meanwhile.
  private func spin(until isTrue: () -> Bool) -> Bool {
    var start = nanoseconds()
    while !isTrue() {
      if runSpare() {
        start = nanoseconds()
      } else if nanoseconds() &- start >= Self.spinNanoseconds {
        return false
      }
    }
    return true
  }

  // MARK: Spare work

  func offer(_ work: SpareWork) {
    spare.withLock { all in
      // Workers that never wait would leave behind what others have finished.
      all.removeAll(where: \.isBegun)
      all.append(work)
      spareCount.store(all.count, ordering: .relaxed)
    }
  }

  /// Whether there was a task to be run.
  private func runSpare() -> Bool {
    guard spareCount.load(ordering: .relaxed) > 0,
      let work = spare.withLock({ $0.first })
    else { return false }
    if work.runOne() { return true }
    spare.withLock { all in
      all.removeAll(where: \.isBegun)
      spareCount.store(all.count, ordering: .relaxed)
    }
    return false
  }
}

import Base
import Glibc
import PinnedMemory

/// Threads that make one pread or pwrite of each request. What its answer means is the owner's
/// affair.
///
/// @unchecked Sendable: every mutable field is read and written under `mutex`.
@safe final class WorkerPool: @unchecked Sendable {
  struct Task {
    let request: Request
    let tag: Int
  }

  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let hasAnswers: UnsafeMutablePointer<pthread_cond_t>
  private let hasWork: UnsafeMutablePointer<pthread_cond_t>
  private var tasks = Fifo<Task>()
  private var answers = Fifo<(tag: Int, result: Int)>()
  /// Raised for every answer, too.
  private var event: EventDescriptor?
  private var isStopping = false

  init() {
    unsafe hasAnswers = .allocate(capacity: 1)
    unsafe mutex = .allocate(capacity: 1)
    unsafe hasWork = .allocate(capacity: 1)
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(hasWork, nil)
    unsafe pthread_cond_init(hasAnswers, nil)
  }

  deinit {
    unsafe pthread_cond_destroy(hasAnswers)
    unsafe hasAnswers.deallocate()
    unsafe pthread_cond_destroy(hasWork)
    unsafe pthread_mutex_destroy(mutex)
    unsafe hasWork.deallocate()
    unsafe mutex.deallocate()
  }

  /// Starts `count` threads on the processors of the caller, each of which keeps the pool alive
  /// until `stop`.
  func start(_ count: Int) -> [pthread_t] {
    (0..<count).map { _ in startThread(diskThreadName) { self.work() } }
  }

  /// Lets the threads finish what is queued and end.
  func stop() {
    locked { isStopping = true }
    unsafe pthread_cond_broadcast(hasWork)
  }

  func add(_ batch: [Task]) {
    locked { for task in batch { tasks.append(task) } }
    unsafe pthread_cond_broadcast(hasWork)
  }

  func notify(_ event: EventDescriptor) { locked { self.event = event } }

  var hasAnswer: Bool { locked { !answers.isEmpty } }

  /// Only called while answers are outstanding.
  func waitForAnswer() {
    locked {
      while answers.isEmpty { unsafe pthread_cond_wait(hasAnswers, mutex) }
    }
  }

  func nextAnswer() -> (tag: Int, result: Int)? { locked { answers.popFirst() } }

  private func locked<Result>(_ body: () -> Result) -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return body()
  }

  /// What each thread does.
  private func work() {
    while let task = nextTask() {
      let result = Self.call(task.request)
      locked {
        answers.append((task.tag, result))
        event?.raise()
      }
      unsafe pthread_cond_signal(hasAnswers)
    }
  }

  /// Waits for a task; nil when the pool is stopping and none is left.
  private func nextTask() -> Task? {
    locked {
      while tasks.isEmpty, !isStopping { unsafe pthread_cond_wait(hasWork, mutex) }
      return tasks.popFirst()
    }
  }

  /// - Returns: bytes moved, or a negative errno.
  private static func call(_ request: Request) -> Int {
    let (file, offset) = (request.file.descriptor, request.offset)
    let memory = unsafe request.memory.bytes
    let result =
      switch request.kind {
      case .read: unsafe pread(file, memory.baseAddress, memory.count, offset)
      case .write: unsafe pwrite(file, memory.baseAddress, memory.count, offset)
      }
    return result < 0 ? -Int(errno) : result
  }
}

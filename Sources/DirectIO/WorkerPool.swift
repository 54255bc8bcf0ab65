import Glibc
import PinnedMemory

/// Threads that carry out requests with pread and pwrite, one request each at a time.
///
/// @unchecked Sendable: every mutable field is read and written under `mutex`.
@safe final class WorkerPool: @unchecked Sendable {
  /// A request carried out to its end.
  struct Outcome {
    let row: Int
    let failure: DiskError?
  }

  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let hasWork: UnsafeMutablePointer<pthread_cond_t>
  private let hasOutcome: UnsafeMutablePointer<pthread_cond_t>
  private var requests = Fifo<Request>()
  private var outcomes = Fifo<Outcome>()
  private var total = DiskCounters()
  private var isStopping = false

  init() {
    unsafe mutex = .allocate(capacity: 1)
    unsafe hasWork = .allocate(capacity: 1)
    unsafe hasOutcome = .allocate(capacity: 1)
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(hasWork, nil)
    unsafe pthread_cond_init(hasOutcome, nil)
  }

  deinit {
    unsafe pthread_cond_destroy(hasOutcome)
    unsafe pthread_cond_destroy(hasWork)
    unsafe pthread_mutex_destroy(mutex)
    unsafe hasOutcome.deallocate()
    unsafe hasWork.deallocate()
    unsafe mutex.deallocate()
  }

  /// Starts `count` threads, each of which keeps the pool alive until `stop`.
  func start(_ count: Int) -> [pthread_t] {
    (0..<count).map { _ in
      var thread = pthread_t()
      let context = unsafe Unmanaged.passRetained(self).toOpaque()
      let code = unsafe pthread_create(
        &thread, nil,
        { context in
          unsafe Unmanaged<WorkerPool>.fromOpaque(context!).takeRetainedValue().work()
          return nil
        }, context)
      precondition(code == 0, "a handful of threads can be made (errno \(code))")
      return thread
    }
  }

  /// Lets the threads finish what is queued and end.
  func stop() {
    locked { isStopping = true }
    unsafe pthread_cond_broadcast(hasWork)
  }

  func add(_ batch: [Request]) {
    locked { for request in batch { requests.append(request) } }
    unsafe pthread_cond_broadcast(hasWork)
  }

  /// The next request that is over; with `wait`, only called while some are not.
  func nextOutcome(wait: Bool) -> Outcome? {
    locked {
      while wait, outcomes.isEmpty { unsafe pthread_cond_wait(hasOutcome, mutex) }
      return outcomes.popFirst()
    }
  }

  var counters: DiskCounters { locked { total } }

  private func locked<Result>(_ body: () -> Result) -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return body()
  }

  /// What each thread does.
  private func work() {
    while let request = nextRequest() {
      let failure = carryOut(request)
      locked { outcomes.append(Outcome(row: request.row, failure: failure)) }
      unsafe pthread_cond_signal(hasOutcome)
    }
  }

  /// Waits for a request; nil when the pool is stopping and none is left.
  private func nextRequest() -> Request? {
    locked {
      while requests.isEmpty, !isStopping { unsafe pthread_cond_wait(hasWork, mutex) }
      return requests.popFirst()
    }
  }

  private func carryOut(_ request: Request) -> DiskError? {
    var request = request
    while true {
      let result = Self.call(request)
      let verdict = request.verdict(result)
      var isRepeated = false
      if case .again = verdict { isRepeated = true }
      locked { total.note(request.kind, result: result, repeated: isRepeated) }
      switch verdict {
      case .done: return nil
      case .again(let rest): request = rest
      case .failed(let failure): return failure
      }
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

import Base
import Glibc

/// A disk whose thread has more to wait for than its requests.
package protocol SleepingDisk: Disk {
  /// Returns when the event that the disk was made with is raised, or when there is something to do
  /// that raises none.
  func sleep()
}

/// What tools that list threads call those of disks.
let diskThreadName = "disk"

/// The thread of a `BackgroundDisk`, and what passes between it and the owner.
///
/// @unchecked Sendable: every mutable field is read and written under `mutex`, but for the disk,
/// which the thread keeps to itself.
@safe final class DiskThread: @unchecked Sendable {
  enum Order {
    case submit(Transfer)
    case promote(tag: UInt64)
    /// Carried out in turn with the others, while the owner waits.
    case call((any SleepingDisk) -> Void)
    case close
  }

  private let event: EventDescriptor
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let hasNews: UnsafeMutablePointer<pthread_cond_t>
  private var orders: [Order] = []
  private var completions: [Completion] = []
  private var counters: [PathCounters] = []

  init() throws(DiskError) {
    event = try EventDescriptor("the thread of a disk")
    unsafe mutex = .allocate(capacity: 1)
    unsafe hasNews = .allocate(capacity: 1)
    unsafe pthread_mutex_init(mutex, nil)
    unsafe pthread_cond_init(hasNews, nil)
  }

  deinit {
    unsafe pthread_cond_destroy(hasNews)
    unsafe pthread_mutex_destroy(mutex)
    unsafe hasNews.deallocate()
    unsafe mutex.deallocate()
  }

  /// Starts the thread, which runs on the processors of its maker.
  /// - Parameter makeDisk: makes the disk; its lanes raise the event that it is given.
  func start(_ makeDisk: @escaping @Sendable (EventDescriptor) -> any SleepingDisk) -> pthread_t {
    startThread(diskThreadName) { self.run(makeDisk(self.event)) }
  }
}

// MARK: The owner's side

extension DiskThread {
  func add(_ batch: [Order]) {
    locked { orders += batch }
    event.raise()
  }

  /// What has ended since the last look; with `wait`, only called while something has not.
  func takeCompletions(wait: Bool) -> [Completion] {
    locked {
      while wait, completions.isEmpty { unsafe pthread_cond_wait(hasNews, mutex) }
      defer { completions = [] }
      return completions
    }
  }

  /// Runs `body` on the thread, after everything that was added before, and waits for it.
  func call<Result>(_ body: @escaping (any SleepingDisk) -> Result) -> Result {
    var result: Result?
    add([
      .call { disk in
        let value = body(disk)
        self.locked { result = value }
      }
    ])
    return locked {
      while result == nil { unsafe pthread_cond_wait(hasNews, mutex) }
      return result!
    }
  }

  /// As of the last completions.
  var pathCounters: [PathCounters] { locked { counters } }
}

// MARK: The thread's side

extension DiskThread {
  private func run(_ disk: any SleepingDisk) {
    leaveSignalsToOthers()

    var isClosing = false
    while true {
      let orders = locked {
        defer { self.orders = [] }
        return self.orders
      }
      for order in orders { isClosing = carryOut(order, disk) || isClosing }
      disk.start()
      let ended = report(disk, after: orders)
      if isClosing, disk.inFlight == 0 { break }
      guard orders.isEmpty, !ended else { continue }
      disk.sleep()
    }
    disk.close()
  }

  /// - Returns: whether the disk is to be closed.
  private func carryOut(_ order: Order, _ disk: any SleepingDisk) -> Bool {
    switch order {
    case .submit(let transfer): disk.submit(transfer)
    case .promote(let tag): disk.promote(tag: tag)
    case .call(let body): body(disk)
    case .close: return true
    }
    return false
  }

  /// Tells the owner what has ended; transfers, and calls among `orders`.
  /// - Returns: whether any transfer has.
  private func report(_ disk: any SleepingDisk, after orders: [Order]) -> Bool {
    var ended: [Completion] = []
    while let completion = disk.nextCompletion(wait: false) { ended.append(completion) }
    guard !ended.isEmpty || !orders.isEmpty else { return false }
    let counters = disk.pathCounters
    locked {
      completions += ended
      self.counters = counters
    }
    unsafe pthread_cond_signal(hasNews)
    return !ended.isEmpty
  }

  private func locked<Result>(_ body: () -> Result) -> Result {
    unsafe pthread_mutex_lock(mutex)
    defer { unsafe pthread_mutex_unlock(mutex) }
    return body()
  }
}

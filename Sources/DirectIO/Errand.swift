import Base
import Glibc
import Synchronization

/// Work under way beside the thread that gave it away.
package protocol Errand: AnyObject {
  /// Whether the work has ended; never waits.
  var isDone: Bool { get }
  /// Returns when the work has ended.
  func wait()
}

/// An errand on a thread of its own, joined by `wait` or when the last reference goes.
final class ThreadErrand: Errand {
  private final class Flag: Sendable {
    let isDone = Atomic(false)
  }

  private let flag: Flag
  private var thread: pthread_t?

  init(_ work: @escaping @Sendable () -> Void) {
    let flag = Flag()
    self.flag = flag
    thread = startThread("pagoda-commit") {
      leaveSignalsToOthers()
      work()
      flag.isDone.store(true, ordering: .releasing)
    }
  }

  deinit { wait() }

  var isDone: Bool { flag.isDone.load(ordering: .acquiring) }

  func wait() {
    guard let thread else { return }
    _ = pthread_join(thread, nil)
    self.thread = nil
  }
}

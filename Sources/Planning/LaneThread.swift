import Base
import Dispatch
import Glibc

/// A thread that does one piece of work at a time for its owner, beside the processors it is given.
///
/// @unchecked Sendable: `work` is set before `hasWork` is signalled and read after it was waited
/// for; everything else is constant.
@safe final class LaneThread: @unchecked Sendable {
  private let cpus: [Int]
  private let hasWork = DispatchSemaphore(value: 0)
  private let isDone = DispatchSemaphore(value: 0)
  private var work: (() -> Void)?

  /// - Parameter cpus: the processors to run on; empty leaves that to the kernel.
  init(cpus: [Int]) {
    self.cpus = cpus
    pthread_detach(startThread("lane") { self.loop() })
  }

  /// Ends the thread; only when nothing is under way.
  func stop() {
    work = nil
    hasWork.signal()
  }

  func begin(_ work: @escaping () -> Void) {
    self.work = work
    hasWork.signal()
  }

  func wait() { isDone.wait() }

  private func loop() {
    leaveSignalsToOthers()
    // Only placement is lost where the kernel refuses, as it may in a container.
    if !cpus.isEmpty { Affinity.restrict(to: cpus) }
    while true {
      hasWork.wait()
      guard let work else { return }
      work()
      self.work = nil
      isDone.signal()
    }
  }
}

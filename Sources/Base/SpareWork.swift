import Glibc
import Synchronization

/// Work for whoever has nothing better to do: so many tasks, of which each is run once, in any order, on
/// any thread. Who needs the result does what is left of it (`finish`).
///
/// Like the body of a loop, a task writes only what belongs to its index.
package final class SpareWork: Sendable {
  private let count: Int
  private let body: @Sendable (_ index: Int) -> Void
  private let next = Atomic<Int>(0)
  private let done = Atomic<Int>(0)
  private let isCancelled = Atomic<Bool>(false)

  package init(_ count: Int, _ body: @escaping @Sendable (_ index: Int) -> Void) {
    precondition(count >= 0, "so many tasks")
    (self.count, self.body) = (count, body)
  }

  /// Runs one task, unless somebody has begun each.
  /// - Returns: whether there was one.
  package func runOne() -> Bool {
    let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
    guard index < count else { return false }
    body(index)
    done.add(1, ordering: .releasing)
    return true
  }

  /// Whether no task is left to begin.
  package var isBegun: Bool { next.load(ordering: .relaxed) >= count }

  /// Runs what nobody has begun, side by side where `forEach` does so; all tasks are done then, and what
  /// they wrote may be read.
  package func finish(
    _ forEach: (_ count: Int, _ body: @Sendable (_ index: Int) -> Void) -> Void
  ) {
    precondition(!isCancelled.load(ordering: .relaxed), "what is cancelled has no result")
    let left = count - next.load(ordering: .relaxed)
    if left > 0 { forEach(left) { _ in _ = runOne() } }
    wait(for: count)
  }

  /// Begins no further task; none is under way then.
  package func cancel() {
    guard !isCancelled.exchange(true, ordering: .relaxed) else { return }
    wait(for: min(next.exchange(count, ordering: .relaxed), count))
  }

  /// Others are in the middle of a task each at most.
  private func wait(for begun: Int) {
    while done.load(ordering: .acquiring) < begun { sched_yield() }
  }
}

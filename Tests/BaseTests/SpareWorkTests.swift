import Base
import Foundation
import Synchronization
import Testing

@Suite struct SpareWorkTests {
  /// Counts how often each task has run.
  private final class Counts: Sendable {
    private let counts: Mutex<[Int]>
    init(_ count: Int) { counts = Mutex(Array(repeating: 0, count: count)) }
    func add(_ index: Int) { counts.withLock { $0[index] += 1 } }
    var all: [Int] { counts.withLock { $0 } }
  }

  /// Goal: whoever takes part, and whenever the result is wanted, every task has run once then.
  @Test(arguments: [0, 1, 7, 500]) func everyTaskRunsOnce(tasks: Int) {
    for begun in [0, 1, tasks / 2, tasks + 3] {
      let counts = Counts(tasks)
      let work = SpareWork(tasks) { counts.add($0) }
      var ran = 0
      for _ in 0..<begun where work.runOne() { ran += 1 }
      #expect(ran == min(begun, tasks))
      let helpers = (0..<2).map { _ in
        let thread = Thread { while work.runOne() {} }
        thread.start()
        return thread
      }
      work.finish { count, body in for index in 0..<count { body(index) } }
      #expect(counts.all == Array(repeating: 1, count: tasks))
      let isLeft = work.runOne()
      #expect(!isLeft)
      withExtendedLifetime(helpers) {}
    }
  }

  /// Goal: once it is cancelled no task is under way, and none begins.
  @Test func cancelledWorkIsOver() {
    for _ in 0..<50 {
      let (begun, ended) = (Counts(1), Counts(1))
      let work = SpareWork(1_000_000) { _ in
        begun.add(0)
        ended.add(0)
      }
      let thread = Thread { while work.runOne() {} }
      thread.start()
      while begun.all[0] == 0 {}
      work.cancel()
      let ran = ended.all[0]
      #expect(begun.all[0] == ran)
      let isLeft = work.runOne()
      #expect(!isLeft && begun.all[0] == ran)
    }
  }
}

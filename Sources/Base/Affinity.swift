import Glibc

/// The processors that a thread may run on, as the kernel keeps them.
package enum Affinity {
  /// Room for 8192 processors, more than Linux knows.
  private static let words = 128

  /// Processors of `thread`, ascending; 0 is the caller. Empty when the thread is gone.
  package static func processors(of thread: Int32 = 0) -> [Int] {
    var mask = [UInt64](repeating: 0, count: words)
    let isKnown = unsafe mask.withUnsafeMutableBytes { bytes in
      unsafe sched_getaffinity(
        thread, bytes.count, bytes.baseAddress!.assumingMemoryBound(to: cpu_set_t.self)) == 0
    }
    guard isKnown else { return [] }
    return (0..<words * 64).filter { mask[$0 / 64] >> UInt64($0 % 64) & 1 == 1 }
  }

  /// Lets `thread` run on `processors` only; 0 is the caller.
  /// - Returns: false when the kernel refuses, as it does when none of them may be used.
  @discardableResult
  package static func restrict(_ thread: Int32 = 0, to processors: [Int]) -> Bool {
    var mask = [UInt64](repeating: 0, count: words)
    for processor in processors {
      precondition((0..<words * 64).contains(processor), "a processor has a number of the mask")
      mask[processor / 64] |= 1 << UInt64(processor % 64)
    }
    return unsafe mask.withUnsafeBytes { bytes in
      unsafe sched_setaffinity(
        thread, bytes.count, bytes.baseAddress!.assumingMemoryBound(to: cpu_set_t.self)) == 0
    }
  }
}

/// The thread that made it stays on some processors as long as this lives; then it may run where it
/// could before.
package struct ThreadPin: ~Copyable {
  private let thread: Int32
  private let before: [Int]

  package init(to processors: [Int]) {
    thread = gettid()
    before = Affinity.processors()
    Affinity.restrict(to: processors)
  }

  deinit { Affinity.restrict(thread, to: before) }
}

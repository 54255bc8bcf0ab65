/// How long the process on a simulated machine lives, in operations of disk and databases together:
/// each asks here first, and from the last one on none succeeds.
package final class Lifespan {
  /// Operations so far, of all processes.
  package private(set) var operations = 0
  package private(set) var hasEnded = false
  private var last = Int.max
  /// Operations from the beginning of the next errand on.
  private var lastOfErrand: Int?

  package init() {}

  /// The operation after the next `count` ones is refused, and so are all that follow.
  package func end(after count: Int) {
    precondition(count >= 0, "the past is over")
    last = operations + count
  }

  /// The same, counted from the beginning of the next errand.
  package func end(afterErrand count: Int) {
    precondition(count >= 0, "an errand does not know its past")
    lastOfErrand = count
  }

  func errandBegins() {
    guard let count = lastOfErrand else { return }
    lastOfErrand = nil
    end(after: count)
  }

  /// A new process, which lives until told otherwise.
  package func renew() {
    hasEnded = false
    last = .max
    lastOfErrand = nil
  }

  /// - Returns: whether the next operation can be done.
  func use() -> Bool {
    operations += 1
    if operations > last { hasEnded = true }
    return !hasEnded
  }
}

import Kernels
import Paging

extension Pager {
  /// Has the checksums of a record's planes computed side by side by `workers`, whose loops only the
  /// owner's thread starts, and those that nobody waits for while they wait.
  mutating func computeChecksums(on workers: Workers) {
    forEach = { workers.forEach($0, $1) }
    offer = { workers.offer($0) }
  }
}

import Kernels
import Paging

extension Pager {
  /// Has the checksums of a record's planes computed side by side by `workers`, whose loops only the
  /// owner's thread starts.
  mutating func computeChecksums(on workers: Workers) {
    forEach = { workers.forEach($0, $1) }
  }
}

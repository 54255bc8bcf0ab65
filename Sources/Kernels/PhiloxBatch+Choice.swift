import Base

extension PhiloxBatch {
  init(seed: UInt64, purpose: RandomPurpose) {
    self.init(seed: seed, lane: UInt64(purpose.rawValue))
  }

  /// As `loopFill`, in the widest vectors there are.
  func fill(_ numbers: inout MutableSpan<UInt16>, _ a: UInt32, _ b: UInt32, set: Int) {
    guard let wide = WideLoops.chosen else { return loopFill(&numbers, a, b, set: set) }
    wide.fill(self, &numbers, a, b, set: set)
  }
}

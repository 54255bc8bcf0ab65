/// Which slots of each path are free. Slots go to the path with the largest free share, so that
/// paths fill in proportion to their sizes, which follow their bandwidths.
package struct SlotTable {
  /// Slots never used start at `unused`. Below that, free ones are those given back, on a stack, and
  /// the gaps that were there when the table was made, the lowest last.
  private struct Path {
    let count: Int
    private var unused = 0
    private var returned: [Int] = []
    private var gaps: [Range<Int>] = []
    private(set) var freeCount: Int

    /// A path on which exactly `used` are taken, in ascending order; nil when one is outside of it or
    /// there twice. Takes time and memory for those, not for all slots that a file claims to have.
    init?(count: Int, used: [Int]) {
      self.count = count
      for index in used {
        guard unused <= index, index < count else { return nil }
        if unused < index { gaps.append(unused..<index) }
        unused = index + 1
      }
      gaps.reverse()
      freeCount = count - used.count
    }

    /// The number of a free slot, of which there is one.
    mutating func take() -> Int {
      precondition(freeCount > 0, "a free slot is there")
      freeCount -= 1
      if let index = returned.popLast() { return index }
      if let gap = gaps.popLast() {
        if gap.count > 1 { gaps.append(gap.lowerBound + 1..<gap.upperBound) }
        return gap.lowerBound
      }
      unused += 1
      return unused - 1
    }

    mutating func putBack(_ index: Int) {
      precondition(index < unused, "only taken slots are given back")
      freeCount += 1
      returned.append(index)
    }
  }

  private var paths: [Path] = []

  package init(slots: [Int]) {
    guard let table = SlotTable(slots: slots, used: []) else { preconditionFailure("none is used") }
    self = table
  }

  /// A table in which exactly `used` are taken; nil when one is outside its path or taken twice.
  package init?(slots: [Int], used: [Slot]) {
    var indices = slots.map { _ in [Int]() }
    for slot in used {
      guard indices.indices.contains(slot.path) else { return nil }
      indices[slot.path].append(slot.index)
    }
    for (path, count) in slots.enumerated() {
      guard let path = Path(count: count, used: indices[path].sorted()) else { return nil }
      paths.append(path)
    }
  }

  func isUnused(path: Int) -> Bool { paths[path].freeCount == paths[path].count }

  package var freeCount: Int { paths.reduce(0) { $0 + $1.freeCount } }

  /// A free slot; nil when every path is full.
  package mutating func take() -> Slot? {
    var best: Int?
    for path in paths.indices where paths[path].freeCount > 0 {
      guard let current = best else {
        best = path
        continue
      }
      // free / count compared without division; the products may be larger than an Int.
      let here = paths[path].freeCount.multipliedFullWidth(by: paths[current].count)
      let there = paths[current].freeCount.multipliedFullWidth(by: paths[path].count)
      if (here.high, here.low) > (there.high, there.low) { best = path }
    }
    guard let path = best else { return nil }
    return Slot(path: path, index: paths[path].take())
  }

  package mutating func putBack(_ slot: Slot) { paths[slot.path].putBack(slot.index) }
}

/// Which slots of each path are free. Slots go to the path with the largest free share, so that
/// paths fill in proportion to their sizes, which follow their bandwidths.
package struct SlotTable {
  /// Slots never used start at `unused`; those given back are on a stack.
  private struct Path {
    let count: Int
    var unused = 0
    var returned: [Int] = []
    var freeCount: Int { count - unused + returned.count }
  }

  private var paths: [Path]

  package init(slots: [Int]) { paths = slots.map { Path(count: $0) } }

  /// A table in which exactly `used` are taken; nil when one is outside its path or taken twice.
  package init?(slots: [Int], used: [Slot]) {
    self.init(slots: slots)
    var taken = slots.map { [Bool](repeating: false, count: $0) }
    for slot in used {
      guard taken.indices.contains(slot.path), taken[slot.path].indices.contains(slot.index),
        !taken[slot.path][slot.index]
      else { return nil }
      taken[slot.path][slot.index] = true
    }
    for path in paths.indices {
      let end = (taken[path].lastIndex(of: true) ?? -1) + 1
      paths[path].unused = end
      paths[path].returned = (0..<end).reversed().filter { !taken[path][$0] }
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
      // free / count compared without division
      let here = paths[path].freeCount * paths[current].count
      if here > paths[current].freeCount * paths[path].count { best = path }
    }
    guard let path = best else { return nil }
    if let index = paths[path].returned.popLast() { return Slot(path: path, index: index) }
    paths[path].unused += 1
    return Slot(path: path, index: paths[path].unused - 1)
  }

  package mutating func putBack(_ slot: Slot) {
    precondition(slot.index < paths[slot.path].unused, "only taken slots are given back")
    paths[slot.path].returned.append(slot.index)
  }
}

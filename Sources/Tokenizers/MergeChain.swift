/// The tokens of one word while they are merged: a linked list, and the proposed merges in a heap
/// by rank, those of one rank from left to right.
struct MergeChain: Sendable {
  private var ids: [Int32] = []
  private var previousIndex: [Int32] = []
  private var nextIndex: [Int32] = []
  /// Rank in the upper half, index of the left token in the lower: a heap, the least first.
  private var proposals: [UInt64] = []

  private static let merged: Int32 = -1

  var count: Int { ids.count }

  mutating func removeAll() {
    ids.removeAll(keepingCapacity: true)
    previousIndex.removeAll(keepingCapacity: true)
    nextIndex.removeAll(keepingCapacity: true)
    proposals.removeAll(keepingCapacity: true)
  }

  mutating func append(_ id: Int32) {
    previousIndex.append(Int32(ids.count - 1))
    nextIndex.append(Int32(ids.count + 1))
    ids.append(id)
  }

  /// The token at `index` and the one after; nil at the end, and where a token was merged away.
  func pair(at index: Int) -> (left: Int32, right: Int32)? {
    let next = Int(nextIndex[index])
    guard ids[index] != Self.merged, next < ids.count else { return nil }
    return (ids[index], ids[next])
  }

  func previous(_ index: Int) -> Int? {
    previousIndex[index] >= 0 ? Int(previousIndex[index]) : nil
  }

  /// Puts `id` in the place of the token at `index` and the one after.
  mutating func merge(at index: Int, into id: Int32) {
    let gone = Int(nextIndex[index])
    ids[index] = id
    ids[gone] = Self.merged
    nextIndex[index] = nextIndex[gone]
    let next = Int(nextIndex[index])
    if next < ids.count { previousIndex[next] = Int32(index) }
  }

  func append(to target: inout [Int32]) {
    for id in ids where id != Self.merged { target.append(id) }
  }

  // MARK: The heap

  mutating func propose(rank: UInt64, index: Int) {
    proposals.append(rank << 32 | UInt64(index))
    var child = proposals.count - 1
    while child > 0, case let parent = (child - 1) / 2, proposals[child] < proposals[parent] {
      proposals.swapAt(child, parent)
      child = parent
    }
  }

  /// Takes the proposal that comes first.
  mutating func next() -> (rank: UInt64, index: Int)? {
    guard let first = proposals.first, let last = proposals.popLast() else { return nil }
    if !proposals.isEmpty {
      proposals[0] = last
      sink()
    }
    return (first >> 32, Int(first & 0xFFFF_FFFF))
  }

  private mutating func sink() {
    var parent = 0
    while case let left = 2 * parent + 1, left < proposals.count {
      let right = left + 1
      let child = right < proposals.count && proposals[right] < proposals[left] ? right : left
      guard proposals[child] < proposals[parent] else { return }
      proposals.swapAt(child, parent)
      parent = child
    }
  }
}

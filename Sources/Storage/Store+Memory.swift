import Base

extension Store {
  /// Heap that the tables of an open store take at most.
  ///
  /// While one generation is made durable beside the next, every block may have a committed, a
  /// closing and an open version, each in a hash table that is at most three quarters full, and one
  /// table has its predecessor beside it while it grows. The errand of the commit sorts what is
  /// written and lists what that replaces; such a list stays for each further generation that is
  /// kept. To that come the numbers of free slots.
  ///
  /// A reader has the committed versions, the lists, and once more all of both while it opens.
  package static func tableBytes(blocks: Int, keep: Int, isReadOnly: Bool) -> Int {
    let entry = MemoryLayout<(BlockID, Record)>.stride
    let replaced = MemoryLayout<Superseded>.stride
    let hashTable = buckets(for: blocks) * (entry + 1)
    let slots = (keep + 1) * blocks * 2 * MemoryLayout<Int>.stride
    if isReadOnly {
      let opening = blocks * (entry + keep * replaced)
      return hashTable * 3 / 2 + (keep - 1) * blocks * replaced * 2 + opening + slots
    }
    return hashTable * 7 / 2 + blocks * (entry + (keep + 1) * replaced) + slots
  }

  /// Of a dictionary with so many entries: a power of two.
  private static func buckets(for count: Int) -> Int {
    let least = max(1, (count * 4 + 2) / 3)
    return 1 << (Int.bitWidth - (least - 1).leadingZeroBitCount)
  }
}

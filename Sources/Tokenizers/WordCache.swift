/// The tokens of words that came before, in bounded memory: text repeats its words, and a word
/// costs many times more to cut than to find. Forgets everything when full.
struct WordCache: Sendable {
  private struct Slot {
    var hash: UInt64
    var bytes: Range<Int32>
    var ids: Range<Int32>
  }

  private var slots: [Slot?]
  private var bytes: [UInt8] = []
  private var ids: [Int32] = []
  private var count = 0

  /// Longer words are rare, and would fill the cache.
  static let wordByteCountMax = 64
  private static let slotCount = 1 << 16
  private static let byteCountMax = 1 << 20
  /// Slots that are tried for one word: text made to collide costs no more than other text.
  private static let probeCount = 8

  init() { slots = [Slot?](repeating: nil, count: Self.slotCount) }

  static func hash(_ word: ArraySlice<UInt8>) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in word { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    return hash ^ hash >> 32
  }

  /// Appends the tokens of `word` to `found`; false when it is not known.
  func find(_ word: ArraySlice<UInt8>, hash: UInt64, into found: inout [Int32]) -> Bool {
    for probe in 0..<Self.probeCount {
      guard let slot = slots[index(hash, probe)] else { return false }
      guard slot.hash == hash, slot.bytes.count == word.count else { continue }
      let start = Int(slot.bytes.lowerBound)
      if bytes[start..<start + word.count] == word {
        found += ids[Int(slot.ids.lowerBound)..<Int(slot.ids.upperBound)]
        return true
      }
    }
    return false
  }

  mutating func insert(_ word: ArraySlice<UInt8>, hash: UInt64, ids tokens: ArraySlice<Int32>) {
    precondition(word.count <= Self.wordByteCountMax, "a word of the length that is kept")
    if count >= Self.slotCount / 2 || bytes.count + word.count > Self.byteCountMax { forget() }
    for probe in 0..<Self.probeCount where slots[index(hash, probe)] == nil {
      let (byteStart, idStart) = (Int32(bytes.count), Int32(ids.count))
      bytes += word
      ids += tokens
      slots[index(hash, probe)] = Slot(
        hash: hash, bytes: byteStart..<Int32(bytes.count), ids: idStart..<Int32(ids.count))
      count += 1
      return
    }
  }

  private func index(_ hash: UInt64, _ probe: Int) -> Int {
    Int(truncatingIfNeeded: hash &+ UInt64(probe)) & (Self.slotCount - 1)
  }

  private mutating func forget() {
    self = WordCache()
  }
}

import Base
import DirectIO

/// The requests of a load on a file, one after the other without end. A function of the seed.
package struct AccessPlan {
  /// Where reads or writes go on.
  private struct Cursor {
    var offset = 0
    /// The end of the record, or of the file.
    var end = 0
    var records = 0
  }

  private let load: Load
  private let region: Range<Int>
  private let random: Philox
  private var reads = Cursor()
  private var writes = Cursor()
  /// The part of a write that is due; in turns, the bytes into the present pair of turns.
  private var debt = 0.0
  private var bytesInTurns = 0

  /// - Parameter region: the part of the file to use, whole pages, a request and a record at least.
  package init(_ load: Load, region: Range<Int>, seed: UInt64) {
    precondition(region.count >= load.requestBytes, "a request fits")
    if case .records(let byteCount) = load.layout {
      precondition(byteCount > 0 && byteCount % 4096 == 0, "records are whole pages")
      precondition(byteCount <= region.count, "a record fits")
    }
    self.load = load
    self.region = region
    random = Philox(seed: seed, purpose: .test)
  }

  package mutating func next() -> Access {
    let isWrite = nextIsWrite()
    var cursor = isWrite ? writes : reads
    if cursor.offset == cursor.end { startOver(&cursor, isWrite) }
    let byteCount = min(load.requestBytes, cursor.end - cursor.offset)
    let access = Access(
      kind: isWrite ? .write : .read, offset: cursor.offset, byteCount: byteCount)
    cursor.offset += byteCount
    if isWrite { writes = cursor } else { reads = cursor }
    bytesInTurns += byteCount
    return access
  }

  /// Chooses the next record; sequentially, the whole requests of the region are one.
  private func startOver(_ cursor: inout Cursor, _ isWrite: Bool) {
    switch load.layout {
    case .sequential:
      cursor.offset = region.lowerBound
      cursor.end = region.lowerBound + region.count / load.requestBytes * load.requestBytes
    case .records(let byteCount):
      let record = random.below(
        region.count / byteCount, isWrite ? 1 : 0, UInt32(truncatingIfNeeded: cursor.records), 3)
      cursor.offset = region.lowerBound + record * byteCount
      cursor.end = cursor.offset + byteCount
      cursor.records += 1
    }
  }

  private mutating func nextIsWrite() -> Bool {
    if let turnBytes = load.turnBytes {
      // A pair of turns is two turns long, shared out between reads and writes.
      bytesInTurns %= 2 * turnBytes
      return Double(bytesInTurns) >= (1 - load.writeShare) * Double(2 * turnBytes)
    }
    debt += load.writeShare
    // Shares such as a third do not add up to exactly one.
    guard debt > 1 - 1e-9 else { return false }
    debt -= 1
    return true
  }
}

import PinnedMemory

/// The transfers of a disk that are not reaped yet: cuts them into requests and puts the answers
/// together again.
struct TransferTable {
  private struct Row {
    var tag: UInt64
    var requestsLeft: Int
    var failure: DiskError?
  }

  private var rows: [Row] = []
  private var freeRows: [Int] = []
  private var finished = Fifo<Completion>()
  /// Transfers admitted and not yet handed back.
  private(set) var count = 0

  /// The requests of `transfer`, in the order of the file.
  mutating func admit(
    _ transfer: Transfer, _ file: OpenFile, requestBytes: Int
  ) -> [Request] {
    let memory = transfer.memory
    precondition(transfer.offset.isMultiple(of: file.alignment), "the offset is aligned")
    precondition(memory.byteCount.isMultiple(of: file.alignment), "the length is aligned")
    let address = unsafe UInt(bitPattern: memory.address)
    precondition(address % UInt(file.memoryAlignment) == 0, "memory is aligned")

    let starts = stride(from: 0, to: memory.byteCount, by: requestBytes)
    let row = makeRow(tag: transfer.tag, requests: (memory.byteCount - 1) / requestBytes + 1)
    return starts.map { start in
      let byteCount = min(requestBytes, memory.byteCount - start)
      return Request(
        transfer.kind, file, row: row, offset: transfer.offset + start,
        memory: unsafe PinnedSlice(address: memory.address + start, byteCount: byteCount))
    }
  }

  /// Notes that one request is over. The first failure of a transfer is the one reported.
  mutating func requestEnded(row: Int, failure: DiskError?) {
    precondition(rows[row].requestsLeft > 0, "the transfer waits for requests")
    rows[row].failure = rows[row].failure ?? failure
    rows[row].requestsLeft -= 1
    guard rows[row].requestsLeft == 0 else { return }
    finished.append(Completion(tag: rows[row].tag, failure: rows[row].failure))
    freeRows.append(row)
  }

  /// The rows of transfers under way that bear `tag`.
  func rows(tagged tag: UInt64) -> [Int] {
    rows.indices.filter { rows[$0].tag == tag && rows[$0].requestsLeft > 0 }
  }

  mutating func popFinished() -> Completion? {
    guard let completion = finished.popFirst() else { return nil }
    count -= 1
    return completion
  }

  private mutating func makeRow(tag: UInt64, requests: Int) -> Int {
    count += 1
    let row = Row(tag: tag, requestsLeft: requests)
    if let index = freeRows.popLast() {
      rows[index] = row
      return index
    }
    rows.append(row)
    return rows.count - 1
  }
}

package import PinnedMemory

/// The disk on io_uring: O_DIRECT requests from registered memory to registered files.
///
///     submit --cut--> backlog --prepare--> ring --enter--> kernel
///     nextCompletion <--transfer whole-- verdict <--answer-- ring
///                                          +--again--> ring
///
/// `submit` enters the kernel at once, so that up to `queueDepth` requests run while the owner
/// computes; the rest waits in the backlog for the next call of any method that pumps.
package final class RingDisk: Disk {
  package let engine = "io_uring"
  package let alignment = FileTable.alignment
  package private(set) var counters = DiskCounters()
  /// Memory that requests need not have looked up; less than registered where locking is limited.
  package private(set) var registeredBytes = 0

  private var ring: Ring
  private var files = FileTable()
  /// Files that the ring knows by index.
  private var fixedIndex: [Int32: Int] = [:]
  private var transfers: TransferTable
  private var backlog = Fifo<Request>()
  /// Requests under way; the index is the ring's tag.
  private var underWay: [Request?]
  private var freeTags: [Int]

  package init(queueDepth: Int = 32, requestBytes: Int = 1 << 20) throws(RingRefusal) {
    ring = try Ring(entries: queueDepth)
    transfers = TransferTable(requestBytes: requestBytes)
    underWay = Array(repeating: nil, count: queueDepth)
    freeTags = Array((0..<queueDepth).reversed())
  }

  deinit { close() }

  package var inFlight: Int { transfers.count }
  package var ringFeatures: [String] { ring.features }
  package func path(of file: DiskFile) -> String { files[file].path }
  package func isDirect(_ file: DiskFile) -> Bool { files[file].isDirect }

  package func openFile(
    _ path: String, byteCount: Int, _ mode: OpenMode
  ) throws(DiskError) -> DiskFile {
    let file = try files.open(path, byteCount: byteCount, mode)
    let descriptor = files[file].descriptor
    if ring.register(descriptor, at: file.index) { fixedIndex[descriptor] = file.index }
    return file
  }

  package func register(_ memory: PinnedSlice) {
    unsafe registeredBytes += ring.register(memory.bytes)
  }

  package func submit(_ transfer: Transfer) {
    for request in transfers.admit(transfer, files[transfer.file]) { backlog.append(request) }
    pump()
    ring.enter(wait: false)
  }

  package func nextCompletion(wait: Bool) -> Completion? {
    while true {
      pump()
      let completion = transfers.popFinished()
      guard completion == nil, wait, transfers.count > 0 else {
        // What the pump prepared runs while the owner computes.
        ring.enter(wait: false)
        return completion
      }
      ring.enter(wait: true)
    }
  }

  package func sync(_ file: DiskFile) throws(DiskError) {
    counters.syncs += 1
    try files.sync(file)
  }

  package func close() {
    while nextCompletion(wait: true) != nil {}
    ring.unregisterAll()
    files.closeAll()
    fixedIndex = [:]
  }
}

extension RingDisk {
  /// Takes all answers that are there and fills the ring from the backlog.
  private func pump() {
    while let answer = ring.nextAnswer() { take(answer.tag, answer.result) }
    while let tag = freeTags.last, let request = backlog.popFirst() {
      freeTags.removeLast()
      start(request, tag)
    }
  }

  private func start(_ request: Request, _ tag: Int) {
    underWay[tag] = request
    ring.prepare(request, fixedFile: fixedIndex[request.file.descriptor], tag: tag)
  }

  private func take(_ tag: Int, _ result: Int) {
    guard let request = underWay[tag] else { preconditionFailure("an answer has its request") }
    let verdict = request.verdict(result)
    switch verdict {
    case .again(let rest):
      counters.note(request.kind, result: result, repeated: true)
      return start(rest, tag)
    case .done: transfers.requestEnded(row: request.row, failure: nil)
    case .failed(let failure): transfers.requestEnded(row: request.row, failure: failure)
    }
    counters.note(request.kind, result: result, repeated: false)
    underWay[tag] = nil
    freeTags.append(tag)
  }
}

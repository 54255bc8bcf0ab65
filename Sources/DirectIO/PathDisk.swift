import Base
package import PinnedMemory

/// The disk on the drives of this machine: O_DIRECT requests over one lane for each path, so that a
/// slow path keeps nobody's place but its own.
///
///     submit --cut--> lane of the file --+--> queue --> kernel
///                     lane of another  --+--> queue --> kernel
///     nextCompletion <--transfer whole---+
///
/// Nothing is begun before `start` or `nextCompletion`; then up to the queue depth of each path runs
/// while the owner computes, and the rest waits in the lane for the owner's next call.
package final class PathDisk<Queue: RequestQueue & ~Copyable>: Disk {
  /// Memory that requests need not have looked up, summed over the lanes; less than registered
  /// where locking is limited.
  package private(set) var registeredBytes = 0

  /// Makes the queue of a directory, for so many requests at once.
  package typealias MakeQueue = (_ directory: String, _ depth: Int) throws(DiskError) -> Queue

  private let settings: DiskSettings
  private let makeQueue: MakeQueue
  private var files = FileTable()
  private var lanes: [Lane<Queue>] = []
  /// By file.
  private var laneOfFile: [Lane<Queue>] = []
  /// What to sleep on where there are several lanes.
  private var event: EventDescriptor?
  private var memories: [PinnedSlice] = []
  private var transfers = TransferTable()

  /// - Parameter event: raised for every answer, for an owner that sleeps on more than this disk.
  package init(
    _ settings: DiskSettings, event: EventDescriptor? = nil, makeQueue: @escaping MakeQueue
  ) {
    self.settings = settings
    self.event = event
    self.makeQueue = makeQueue
  }

  deinit { close() }

  package var engine: String { Queue.engine }
  package var inFlight: Int { transfers.count }
  package var counters: DiskCounters { lanes.reduce(DiskCounters()) { $0 + $1.counters } }
  package var pathCounters: [PathCounters] {
    lanes.map { PathCounters(directory: $0.directory, counters: $0.counters) }
  }
  package func path(of file: DiskFile) -> String { files[file].path }
  package func isDirect(_ file: DiskFile) -> Bool { files[file].isDirect }
  package func alignment(of file: DiskFile) -> Int { files[file].alignment }

  package func openFile(
    _ path: String, byteCount: Int, _ mode: OpenMode
  ) throws(DiskError) -> DiskFile {
    let lane = try lane(of: parent(of: path))
    let file = try files.open(path, byteCount: byteCount, mode)
    lane.register(files[file])
    laneOfFile.append(lane)
    return file
  }

  package func register(_ memory: PinnedSlice) {
    memories.append(memory)
    for lane in lanes { registeredBytes += lane.register(memory) }
  }

  package func unregister(_ memory: PinnedSlice) {
    memories.removeAll { unsafe $0.address == memory.address }
    for lane in lanes { registeredBytes -= lane.unregister(memory) }
  }

  package func syncer(of file: DiskFile) -> @Sendable () -> DiskError? {
    laneOfFile[file.index].noteSync()
    return files.syncer(of: file)
  }

  package func close() {
    while nextCompletion(wait: true) != nil {}
    for lane in lanes { lane.close() }
    files.closeAll()
    memories = []
  }

  private func lane(of directory: String) throws(DiskError) -> Lane<Queue> {
    if let lane = lanes.first(where: { $0.directory == directory }) { return lane }
    let settings = settings.settings(for: directory)
    let lane = Lane<Queue>(directory, settings, try makeQueue(directory, settings.queueDepth))
    // Waiting for one queue needs no event, and goes without its cost.
    if event == nil, let first = lanes.first {
      event = try EventDescriptor(directory)
      if let event { try first.notify(event) }
    }
    if let event { try lane.notify(event) }
    for memory in memories { registeredBytes += lane.register(memory) }
    lanes.append(lane)
    return lane
  }
}

extension PathDisk<Ring> {
  package convenience init(
    _ settings: DiskSettings = DiskSettings(), event: EventDescriptor? = nil
  ) {
    self.init(settings, event: event) { directory, depth throws(DiskError) in
      do throws(RingRefusal) {
        return try Ring.afterOthers(
          entries: depth, mode: settings.ringMode, directory: directory)
      } catch {
        throw DiskError(.open, path: directory, code: error.code, remedy: error.description)
      }
    }
  }
}

extension PathDisk<ThreadQueue> {
  package convenience init(
    _ settings: DiskSettings = DiskSettings(), event: EventDescriptor? = nil
  ) {
    self.init(settings, event: event) { _, depth in ThreadQueue(depth: depth) }
  }
}

// MARK: Transfers

extension PathDisk where Queue: ~Copyable {
  package func submit(_ transfer: Transfer) {
    let lane = laneOfFile[transfer.file.index]
    let requests = transfers.admit(
      transfer, files[transfer.file], requestBytes: lane.settings.requestBytes)
    for request in requests { lane.add(request, transfer.priority) }
  }

  package func promote(tag: UInt64) {
    for row in transfers.rows(tagged: tag) {
      for lane in lanes { lane.promote(row: row) }
    }
  }

  package func start() {
    for lane in lanes {
      lane.pump(&transfers)
      lane.enter(wait: false)
    }
  }

  package func nextCompletion(wait: Bool) -> Completion? {
    while true {
      for lane in lanes { lane.pump(&transfers) }
      let completion = transfers.popFinished()
      guard completion == nil, wait, transfers.count > 0 else {
        // What the pump prepared runs while the owner computes.
        for lane in lanes { lane.enter(wait: false) }
        return completion
      }
      waitForAnswer()
    }
  }

  /// Begins everything prepared and sleeps until some lane has an answer.
  private func waitForAnswer() {
    let busy = lanes.filter { $0.pending > 0 }
    if busy.count == 1 { return busy[0].enter(wait: true) }
    for lane in busy { lane.enter(wait: false) }
    sleep()
  }
}

extension PathDisk: SleepingDisk where Queue: ~Copyable {
  package func sleep() {
    if lanes.contains(where: { $0.pending > 0 && $0.isReady }) { return }
    event?.wait()
    // Now, not later: an answer that comes after the next look at its lane raises it again.
    event?.reset()
  }
}

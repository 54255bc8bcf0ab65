import Glibc
package import PinnedMemory

/// A disk that a thread of its own drives, so that requests begin and end while the owner computes,
/// however long it stays away.
///
///     owner    submit, start --orders--> wake          nextCompletion <--completions--+
///     thread                              +--> disk.submit, disk.nextCompletion ------+
///
/// The thread alone makes, uses and closes the disk below; the owner's other calls are carried out
/// there while the owner waits.
package final class BackgroundDisk: Disk {
  package let engine: String
  package private(set) var inFlight = 0

  private let shared: DiskThread
  private var thread: pthread_t?
  /// Submitted and not yet handed to the thread.
  private var batch: [DiskThread.Order] = []
  /// Ended and not yet handed out.
  private var finished = Fifo<Completion>()
  private var paths: [String] = []

  /// - Parameter makeDisk: called on the thread; what the disk waits for raises the event.
  /// - Throws: `DiskError` when the system has no descriptor left.
  package init(
    _ makeDisk: @escaping @Sendable (EventDescriptor) -> any SleepingDisk
  ) throws(DiskError) {
    shared = try DiskThread()
    thread = shared.start(makeDisk)
    engine = shared.call { $0.engine }
  }

  deinit { close() }

  package var counters: DiskCounters { pathCounters.reduce(DiskCounters()) { $0 + $1.counters } }
  package var pathCounters: [PathCounters] { shared.pathCounters }
  package func path(of file: DiskFile) -> String { paths[file.index] }
  package func isDirect(_ file: DiskFile) -> Bool { call { $0.isDirect(file) } }
  package func alignment(of file: DiskFile) -> Int { call { $0.alignment(of: file) } }

  package func openFile(
    _ path: String, byteCount: Int, _ mode: OpenMode
  ) throws(DiskError) -> DiskFile {
    let opened = call { disk -> Result<DiskFile, DiskError> in
      do throws(DiskError) {
        return .success(try disk.openFile(path, byteCount: byteCount, mode))
      } catch {
        return .failure(error)
      }
    }
    let file = try opened.get()
    paths.append(path)
    return file
  }

  private func call<Result>(_ body: @escaping (any SleepingDisk) -> Result) -> Result {
    precondition(thread != nil, "the disk is open")
    return shared.call(body)
  }

  package func register(_ memory: PinnedSlice) { call { $0.register(memory) } }

  package func unregister(_ memory: PinnedSlice) {
    // A disk that is closed knows no memory.
    if thread != nil { call { $0.unregister(memory) } }
  }

  package func submit(_ transfer: Transfer) {
    inFlight += 1
    batch.append(.submit(transfer))
  }

  package func promote(tag: UInt64) { batch.append(.promote(tag: tag)) }

  package func start() {
    guard !batch.isEmpty else { return }
    shared.add(batch)
    batch.removeAll(keepingCapacity: true)
  }

  package func nextCompletion(wait: Bool) -> Completion? {
    start()
    if finished.isEmpty, inFlight > 0 {
      for completion in shared.takeCompletions(wait: wait) { finished.append(completion) }
    }
    guard let completion = finished.popFirst() else { return nil }
    inFlight -= 1
    return completion
  }

  package func syncer(of file: DiskFile) -> @Sendable () -> DiskError? {
    call { $0.syncer(of: file) }
  }

  package func close() {
    guard let thread else { return }
    while nextCompletion(wait: true) != nil {}
    shared.add([.close])
    pthread_join(thread, nil)
    self.thread = nil
  }
}

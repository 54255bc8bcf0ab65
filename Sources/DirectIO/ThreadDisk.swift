import Glibc
package import PinnedMemory

/// The disk on a pool of threads, for machines that refuse io_uring. Same files, same cuts, same
/// verdicts; a system call and a thread switch more per request.
package final class ThreadDisk: Disk {
  package let engine = "threads"
  package let alignment = FileTable.alignment

  private let pool = WorkerPool()
  private var threads: [pthread_t]
  private var files = FileTable()
  private var transfers: TransferTable
  private var syncs = 0

  /// - Parameter threadCount: requests that may be under way at once.
  package init(threadCount: Int = 8, requestBytes: Int = 1 << 20) {
    precondition(0 < threadCount && threadCount <= 256, "1 to 256 threads")
    transfers = TransferTable(requestBytes: requestBytes)
    threads = pool.start(threadCount)
  }

  deinit { close() }

  package var inFlight: Int { transfers.count }
  package var counters: DiskCounters {
    var counters = pool.counters
    counters.syncs = syncs
    return counters
  }
  package func path(of file: DiskFile) -> String { files[file].path }
  package func isDirect(_ file: DiskFile) -> Bool { files[file].isDirect }

  package func openFile(
    _ path: String, byteCount: Int, _ mode: OpenMode
  ) throws(DiskError) -> DiskFile {
    try files.open(path, byteCount: byteCount, mode)
  }

  /// System calls look memory up themselves.
  package func register(_ memory: PinnedSlice) {}

  package func submit(_ transfer: Transfer) {
    precondition(!threads.isEmpty, "the disk is open")
    pool.add(transfers.admit(transfer, files[transfer.file]))
  }

  package func nextCompletion(wait: Bool) -> Completion? {
    while true {
      while let outcome = pool.nextOutcome(wait: false) { take(outcome) }
      if let completion = transfers.popFinished() { return completion }
      guard wait, transfers.count > 0 else { return nil }
      if let outcome = pool.nextOutcome(wait: true) { take(outcome) }
    }
  }

  package func sync(_ file: DiskFile) throws(DiskError) {
    syncs += 1
    try files.sync(file)
  }

  package func close() {
    while nextCompletion(wait: true) != nil {}
    pool.stop()
    for thread in threads { pthread_join(thread, nil) }
    threads = []
    files.closeAll()
  }

  private func take(_ outcome: WorkerPool.Outcome) {
    transfers.requestEnded(row: outcome.row, failure: outcome.failure)
  }
}

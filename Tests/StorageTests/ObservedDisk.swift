import DirectIO
import PinnedMemory

/// A disk that notes which files are read, in the order in which the reads are submitted.
final class ObservedDisk: Disk {
  private let disk: any Disk
  var reads: [DiskFile] = []

  init(_ disk: any Disk) { self.disk = disk }

  func submit(_ transfer: Transfer) {
    if transfer.kind == .read { reads.append(transfer.file) }
    disk.submit(transfer)
  }

  var engine: String { disk.engine }
  var inFlight: Int { disk.inFlight }
  var counters: DiskCounters { disk.counters }
  var pathCounters: [PathCounters] { disk.pathCounters }
  func openFile(_ path: String, byteCount: Int, _ mode: OpenMode) throws(DiskError) -> DiskFile {
    try disk.openFile(path, byteCount: byteCount, mode)
  }
  func path(of file: DiskFile) -> String { disk.path(of: file) }
  func isDirect(_ file: DiskFile) -> Bool { disk.isDirect(file) }
  func alignment(of file: DiskFile) -> Int { disk.alignment(of: file) }
  func register(_ memory: PinnedSlice) { disk.register(memory) }
  func unregister(_ memory: PinnedSlice) { disk.unregister(memory) }
  func start() { disk.start() }
  func promote(tag: UInt64) { disk.promote(tag: tag) }
  func nextCompletion(wait: Bool) -> Completion? { disk.nextCompletion(wait: wait) }
  func syncer(of file: DiskFile) -> @Sendable () -> DiskError? { disk.syncer(of: file) }
  func close() { disk.close() }
}

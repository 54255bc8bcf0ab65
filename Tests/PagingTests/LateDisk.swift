import DirectIO
import PinnedMemory

/// A disk on which nothing has ended before somebody waits for it.
final class LateDisk: Disk {
  private let disk: any Disk

  init(_ disk: any Disk) { self.disk = disk }

  func nextCompletion(wait: Bool) -> Completion? { wait ? disk.nextCompletion(wait: true) : nil }

  var engine: String { disk.engine }
  var inFlight: Int { disk.inFlight }
  var counters: DiskCounters { disk.counters }
  var pathCounters: [PathCounters] { disk.pathCounters }
  var databaseFileSystem: String? { disk.databaseFileSystem }
  func openFile(_ path: String, byteCount: Int, _ mode: OpenMode) throws(DiskError) -> DiskFile {
    try disk.openFile(path, byteCount: byteCount, mode)
  }
  func path(of file: DiskFile) -> String { disk.path(of: file) }
  func isDirect(_ file: DiskFile) -> Bool { disk.isDirect(file) }
  func alignment(of file: DiskFile) -> Int { disk.alignment(of: file) }
  func register(_ memory: PinnedSlice) { disk.register(memory) }
  func unregister(_ memory: PinnedSlice) { disk.unregister(memory) }
  func submit(_ transfer: Transfer) { disk.submit(transfer) }
  func start() { disk.start() }
  func promote(tag: UInt64) { disk.promote(tag: tag) }
  func syncer(of file: DiskFile) -> @Sendable () -> DiskError? { disk.syncer(of: file) }
  func runBeside(_ work: @escaping @Sendable () -> Void) -> any Errand { disk.runBeside(work) }
  func close() { disk.close() }
}

import DirectIO
import PinnedMemory

/// A disk that says it has synced and has not.
final class ForgetfulDisk: Disk {
  private let base: any Disk

  init(_ base: any Disk) { self.base = base }

  func syncer(of file: DiskFile) -> @Sendable () -> DiskError? { { nil } }

  var engine: String { "forgetful \(base.engine)" }
  var inFlight: Int { base.inFlight }
  var counters: DiskCounters { base.counters }
  var pathCounters: [PathCounters] { base.pathCounters }
  var databaseFileSystem: String? { base.databaseFileSystem }
  func openFile(
    _ path: String, byteCount: Int, _ mode: OpenMode
  ) throws(DiskError) -> DiskFile {
    try base.openFile(path, byteCount: byteCount, mode)
  }
  func path(of file: DiskFile) -> String { base.path(of: file) }
  func isDirect(_ file: DiskFile) -> Bool { base.isDirect(file) }
  func alignment(of file: DiskFile) -> Int { base.alignment(of: file) }
  func register(_ memory: PinnedSlice) { base.register(memory) }
  func unregister(_ memory: PinnedSlice) { base.unregister(memory) }
  func submit(_ transfer: Transfer) { base.submit(transfer) }
  func start() { base.start() }
  func promote(tag: UInt64) { base.promote(tag: tag) }
  func nextCompletion(wait: Bool) -> Completion? { base.nextCompletion(wait: wait) }
  func runBeside(_ work: @escaping @Sendable () -> Void) -> any Errand { base.runBeside(work) }
  func close() { base.close() }
}

import DirectIO
import Glibc
import PinnedMemory

/// A disk on which nothing has ended before somebody waits for it, and which remembers what it was
/// asked for.
final class LateDisk: Disk {
  private let disk: any Disk
  private(set) var reads: [Transfer] = []
  /// While it is false, this is a disk like others.
  var isLate = true
  /// While it is true, reads that are submitted will fail.
  var failsReads = false
  private var failing: Set<UInt64> = []

  init(_ disk: any Disk) { self.disk = disk }

  func nextCompletion(wait: Bool) -> Completion? {
    guard wait || !isLate, let completion = disk.nextCompletion(wait: wait) else { return nil }
    guard failing.remove(completion.tag) != nil else { return completion }
    let failure = DiskError(.read, path: "pages", code: EIO, remedy: "it was told to fail")
    return Completion(tag: completion.tag, failure: failure)
  }

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
  func submit(_ transfer: Transfer) {
    if transfer.kind == .read {
      reads.append(transfer)
      if failsReads { failing.insert(transfer.tag) }
    }
    disk.submit(transfer)
  }
  func start() { disk.start() }
  func promote(tag: UInt64) { disk.promote(tag: tag) }
  func syncer(of file: DiskFile) -> @Sendable () -> DiskError? { disk.syncer(of: file) }
  func runBeside(_ work: @escaping @Sendable () -> Void) -> any Errand { disk.runBeside(work) }
  func close() { disk.close() }
}

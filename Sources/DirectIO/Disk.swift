package import PinnedMemory

/// A file that a disk has opened: an index into the disk's table, valid until the disk is closed.
package struct DiskFile: Hashable, Sendable {
  package let index: Int
  package init(index: Int) { self.index = index }
}

/// One read or write between pinned memory and a file, as long as the caller likes: the disk cuts
/// it into requests of its own size and reports one completion.
package struct Transfer: Sendable {
  package enum Kind: Sendable { case read, write }
  /// What goes first where a path has more to do than its queue holds.
  package enum Priority: Int, CaseIterable, Sendable {
    /// Somebody waits for it.
    case demand
    /// Somebody will want it.
    case prefetch
    /// Nobody waits, except for the room.
    case writeBack
  }
  package let kind: Kind
  package let file: DiskFile
  /// Bytes from the start of the file, a multiple of the disk's alignment.
  package let offset: Int
  package let memory: PinnedSlice
  /// Chosen by the caller and handed back in the completion.
  package let tag: UInt64
  package let priority: Priority

  package init(
    _ kind: Kind, _ file: DiskFile, offset: Int, memory: PinnedSlice, tag: UInt64,
    priority: Priority = .demand
  ) {
    precondition(offset >= 0, "offsets count from the start of the file")
    self.kind = kind
    self.file = file
    self.offset = offset
    self.memory = memory
    self.tag = tag
    self.priority = priority
  }
}

/// What became of one transfer. `failure` is nil only when every byte was moved.
package struct Completion: Sendable {
  package let tag: UInt64
  package let failure: DiskError?
  package init(tag: UInt64, failure: DiskError?) {
    self.tag = tag
    self.failure = failure
  }
}

/// How a file is opened.
package enum OpenMode: Sendable {
  /// Made new with mode 0600 and preallocated to its byte count; an error when it exists.
  case create
  /// Made new with mode 0600, without a name as soon as it is there, and preallocated to its byte
  /// count: gone with the disk or the process, whatever ends that. A file of this name is replaced.
  case scratch
  /// There already, for reading and writing.
  case readWrite
  /// There already, for reading and writing; made longer where it is shorter, all of it
  /// preallocated.
  case grow
  /// There already, for reading.
  case readOnly
}

/// The one seam of the byte side: io_uring, a thread pool where io_uring is refused, and the
/// simulated disk are its citizens.
///
/// A disk belongs to one thread, which submits transfers and reaps completions; it is not Sendable.
/// Short transfers are continued, EINTR and EAGAIN retried and EIO retried a bounded number of
/// times inside; what comes out as a failure is final and names path, offset and length.
package protocol Disk: AnyObject {
  /// The engine's name in reports: `io_uring`, `threads`, `simulated`.
  var engine: String { get }
  /// Transfers submitted and not yet reaped.
  var inFlight: Int { get }
  /// What the disk has done since it was made.
  var counters: DiskCounters { get }
  /// The same by path: the directories of the files, in the order in which they were first used.
  var pathCounters: [PathCounters] { get }

  /// Opens `path`; a new file has `byteCount` bytes afterwards, one that is there already at least
  /// so many: with `.grow` they are added, else the file has them or is refused.
  func openFile(_ path: String, byteCount: Int, _ mode: OpenMode) throws(DiskError) -> DiskFile
  /// The path that `file` was opened with.
  func path(of file: DiskFile) -> String
  /// Whether transfers of `file` bypass the page cache. False where the file system refuses
  /// O_DIRECT: everything works, but figures are not the disk's and memory is used beyond the
  /// pools.
  func isDirect(_ file: DiskFile) -> Bool
  /// Offsets and lengths of transfers of `file` are multiples of this many bytes, at most 4096: what
  /// device and file system ask.
  func alignment(of file: DiskFile) -> Int
  /// Tells the engine of memory that transfers will use. Optional for correctness, once per pool.
  func register(_ memory: PinnedSlice)
  /// Takes back `register` before the memory goes: the engine would go on using the pages that were
  /// there, whatever is mapped at the address later. No transfer of it is in flight.
  func unregister(_ memory: PinnedSlice)
  /// Queues a transfer. It is begun by `start` or `nextCompletion`, many with one call.
  func submit(_ transfer: Transfer)
  /// Begins what was submitted, as far as the queues of the paths have room.
  func start()
  /// Somebody waits now for the transfer with this tag: it goes before all that does not run yet.
  func promote(tag: UInt64)
  /// The next finished transfer in any order; nil when none is finished and `wait` is false, or
  /// none is in flight.
  func nextCompletion(wait: Bool) -> Completion?
  /// Makes everything written to `file` by completed transfers durable when it is called, by any
  /// thread, while transfers go on; nil when all went well. Not to be called after `close`.
  func syncer(of file: DiskFile) -> @Sendable () -> DiskError?
  /// Does work that waits, for syncs above all, beside the owner's thread.
  func runBeside(_ work: @escaping @Sendable () -> Void) -> any Errand
  /// SQLite's name of the file system for databases beside the files of this disk; nil: the
  /// system's.
  var databaseFileSystem: String? { get }
  /// Closes all files. Transfers in flight are waited for.
  func close()
}

extension Disk {
  /// Makes everything written to `file` by completed transfers durable, and waits for that.
  package func sync(_ file: DiskFile) throws(DiskError) {
    if let failure = syncer(of: file)() { throw failure }
  }

  package var databaseFileSystem: String? { nil }
  package func runBeside(_ work: @escaping @Sendable () -> Void) -> any Errand {
    ThreadErrand(work)
  }
}

import Base
package import DirectIO
import Glibc
package import PinnedMemory

/// A disk in memory that obeys the protocol to the letter and otherwise does its worst, by seed:
/// transfers end in any order and late, faults come where the plan says, unsynced writes are lost.
///
/// It traps on what a real disk would punish only sometimes: transfers that overlap on disk or in
/// memory, and memory that is changed while it is being written. A read's memory holds rubbish
/// until its completion.
package final class SimulatedDisk: Disk {
  private struct Pending {
    let transfer: Transfer
    let path: String
    /// What a write found in memory when it was submitted.
    let bytes: [UInt8]
    let fault: FaultCounter.TransferFault
    /// The reap at which it is finished.
    let due: Int
  }

  package let engine = "simulated"
  private let alignment = 4096
  package private(set) var counters = DiskCounters()
  package let medium: SimulatedMedium

  package let databaseFileSystem: String?
  private let reapsLateMax: Int
  private let random: Philox
  private var faults: FaultCounter
  private let lifespan: Lifespan
  private let log: EventLog
  private var errands: UInt32 = 0
  private var openPaths: [String] = []
  /// Of files without a name, under which the medium has them as long as this disk is open.
  private var scratchPaths: [String] = []
  private var pending: [Pending] = []
  private var submitted: UInt32 = 0
  private var reaps = 0
  private var isOpen = true

  /// - Parameters:
  ///   - medium: what earlier disks have left.
  ///   - seed: of order and delay.
  ///   - reapsLateMax: a transfer is finished at most so many calls of `nextCompletion` late.
  ///   - databases: those beside the files of this disk; nil: the system's.
  ///   - lifespan: after it every call gives ENODEV.
  package init(
    _ medium: SimulatedMedium, seed: UInt64, reapsLateMax: Int = 4, faults: [Fault] = [],
    databases: SimulatedDatabases? = nil, lifespan: Lifespan = Lifespan(),
    log: EventLog = EventLog()
  ) {
    precondition(reapsLateMax >= 0, "a delay is not negative")
    self.medium = medium
    self.reapsLateMax = reapsLateMax
    self.faults = FaultCounter(faults)
    self.lifespan = lifespan
    self.log = log
    databaseFileSystem = databases?.name
    random = Philox(seed: seed, purpose: .test)
  }

  package var inFlight: Int { pending.count }
  /// The faults of the plan that have come.
  package var faultsSoFar: [Fault] { faults.fired }
  package func path(of file: DiskFile) -> String { openPaths[file.index] }
  package func isDirect(_ file: DiskFile) -> Bool { true }
  package func alignment(of file: DiskFile) -> Int { alignment }
  package var pathCounters: [PathCounters] { [] }
  package func register(_ memory: PinnedSlice) {}
  package func unregister(_ memory: PinnedSlice) {}

  /// Power fails: what is in flight or unsynced is lost or torn, and the disk is gone.
  package func crash() {
    kill()
    medium.crash()
  }

  /// The process is gone, the machine is not: what it had under way and what it had not synced is
  /// on the medium, as before.
  package func kill() {
    for item in pending where item.transfer.kind == .write && !item.fault.isLost {
      medium.write(item.path, offset: item.transfer.offset, item.bytes)
    }
    pending = []
    isOpen = false
    removeScratch()
  }

  private func removeScratch() {
    for path in scratchPaths { medium.remove(path) }
    scratchPaths = []
  }

  /// The errno of the next call, or nil when it succeeds.
  private func nextFailure() -> Int32? { lifespan.use() ? faults.nextCall() : ENODEV }

  /// Syncs when it is called, on the thread of the disk: nothing is concurrent here.
  package func syncer(of file: DiskFile) -> @Sendable () -> DiskError? {
    nonisolated(unsafe) let disk = self
    return { unsafe disk.syncNow(file) }
  }

  /// Does the work on the caller's thread, so that seeds decide when: at one of the next looks
  /// whether it is done, or when somebody waits for it.
  package func runBeside(_ work: @escaping @Sendable () -> Void) -> any Errand {
    errands += 1
    let looks = random.below(reapsLateMax * 8 + 1, Draw.errand.rawValue, errands, 0)
    return SimulatedErrand(work, looksMax: looks, lifespan, log)
  }

  private func syncNow(_ file: DiskFile) -> DiskError? {
    precondition(isOpen, "the disk is open")
    counters.syncs += 1
    let path = path(of: file)
    let failure = nextFailure()
    log.add(.sync, path, failure: failure ?? 0)
    guard let failure else {
      medium.sync(path)
      return nil
    }
    if !lifespan.hasEnded { medium.failSync(path) }
    return DiskError(.sync, path: path, errno: failure)
  }

  package func close() {
    while nextCompletion(wait: true) != nil {}
    isOpen = false
    removeScratch()
  }
}

private final class SimulatedErrand: Errand {
  private var work: (@Sendable () -> Void)?
  private var looks = 0
  private let looksMax: Int
  private let lifespan: Lifespan
  private let log: EventLog

  init(
    _ work: @escaping @Sendable () -> Void, looksMax: Int, _ lifespan: Lifespan, _ log: EventLog
  ) {
    self.work = work
    self.looksMax = looksMax
    self.lifespan = lifespan
    self.log = log
  }

  deinit { wait() }

  var isDone: Bool {
    looks += 1
    if looks > looksMax { wait() }
    return work == nil
  }

  func wait() {
    guard let work else { return }
    self.work = nil
    log.add(.errand, offset: looks)
    lifespan.errandBegins()
    work()
  }
}

// MARK: - Files

extension SimulatedDisk {
  package func openFile(
    _ path: String, byteCount: Int, _ mode: OpenMode
  ) throws(DiskError) -> DiskFile {
    precondition(isOpen, "the disk is open")
    let isNew = mode == .create || mode == .scratch
    let action: DiskError.Action = isNew ? .create : .open
    let failure = nextFailure()
    log.add(isNew ? .create : .open, path, length: byteCount, failure: failure ?? 0)
    if let failure { throw DiskError(action, path: path, errno: failure) }
    switch mode {
    case .create: try create(path, byteCount)
    case .scratch:
      medium.remove(path)
      try create(path, byteCount)
      scratchPaths.append(path)
    case .grow: try grow(path, byteCount)
    case .readWrite, .readOnly: try checkSize(path, byteCount)
    }
    openPaths.append(path)
    return DiskFile(index: openPaths.count - 1)
  }

  private func create(_ path: String, _ byteCount: Int) throws(DiskError) {
    guard medium.byteCount(of: path) == nil else {
      throw DiskError(.create, path: path, length: byteCount, errno: EEXIST)
    }
    guard faults.nextCreateFits(), byteCount <= medium.freeBytes else {
      throw DiskError(.create, path: path, length: byteCount, errno: ENOSPC)
    }
    medium.create(path, byteCount: byteCount)
  }

  private func grow(_ path: String, _ byteCount: Int) throws(DiskError) {
    guard let present = medium.byteCount(of: path) else {
      throw DiskError(.open, path: path, errno: ENOENT)
    }
    guard byteCount > present else { return }
    guard faults.nextCreateFits(), byteCount - present <= medium.freeBytes else {
      throw DiskError(.create, path: path, length: byteCount, errno: ENOSPC)
    }
    medium.grow(path, to: byteCount)
  }

  private func checkSize(_ path: String, _ byteCount: Int) throws(DiskError) {
    guard let present = medium.byteCount(of: path) else {
      throw DiskError(.open, path: path, errno: ENOENT)
    }
    guard present >= byteCount else {
      throw DiskError(
        .open, path: path, code: 0,
        remedy:
          "the file has \(present) bytes where \(byteCount) are needed; restore it from a copy")
    }
  }
}

// MARK: - Transfers

extension SimulatedDisk {
  package func submit(_ transfer: Transfer) {
    precondition(isOpen, "the disk is open")
    precondition(transfer.offset.isMultiple(of: alignment), "the offset is aligned")
    precondition(transfer.memory.byteCount.isMultiple(of: alignment), "the length is aligned")
    for other in pending { checkDisjoint(transfer, other) }

    submitted += 1
    let isRead = transfer.kind == .read
    let late = random.below(reapsLateMax + 1, Draw.delay.rawValue, submitted, 0)
    let bytes = unsafe isRead ? [] : [UInt8](transfer.memory.bytes)
    if isRead { unsafe _ = memset(transfer.memory.address, 0xa5, transfer.memory.byteCount) }
    let failure = nextFailure()
    pending.append(
      Pending(
        transfer: transfer, path: path(of: transfer.file), bytes: bytes,
        fault: faults.nextTransfer(isRead: isRead, failure: failure), due: reaps + late))
  }

  /// Everything is begun when it is submitted, and order is chance.
  package func start() {}
  package func promote(tag: UInt64) {}

  package func nextCompletion(wait: Bool) -> Completion? {
    guard !pending.isEmpty else { return nil }
    reaps += 1
    if wait { reaps = max(reaps, pending.map(\.due).min()!) }
    let ready = pending.indices.filter { pending[$0].due <= reaps }
    guard !ready.isEmpty else { return nil }
    let chosen = random.below(ready.count, Draw.order.rawValue, UInt32(reaps), submitted)
    return finish(pending.remove(at: ready[chosen]))
  }

  private func finish(_ item: Pending) -> Completion {
    let transfer = item.transfer
    let repetitions = min(item.fault.repetitions, Request.errorsAllowed)
    counters.requests += 1 + repetitions
    counters.retries += repetitions
    let code = item.fault.repetitions > Request.errorsAllowed ? EIO : item.fault.errno
    var failure = code.map { Self.failure(of: item, code: $0) }
    if failure == nil {
      switch transfer.kind {
      case .read: failure = read(item)
      case .write: write(item)
      }
    }
    log.add(
      transfer.kind == .read ? .read : .write, item.path, offset: transfer.offset,
      length: transfer.memory.byteCount, failure: failure?.code ?? 0)
    return Completion(tag: transfer.tag, failure: failure)
  }

  private func read(_ item: Pending) -> DiskError? {
    let (offset, memory) = unsafe (item.transfer.offset, item.transfer.memory.bytes)
    let found = medium.read(item.path, offset..<offset + memory.count)
    guard found.count == memory.count else {
      return DiskError(
        .read, path: item.path, offset: offset, length: memory.count, code: 0,
        remedy: "the file ends at \(offset + found.count); restore it from a copy")
    }
    unsafe memory.copyBytes(from: found)
    if item.fault.flipsBit {
      let bit = random.below(memory.count * 8, Draw.flippedBit.rawValue, UInt32(reaps), 0)
      unsafe memory[bit / 8] ^= 1 << (bit % 8)
    }
    counters.bytesRead += memory.count
    return nil
  }

  private func write(_ item: Pending) {
    let transfer = item.transfer
    let isUnchanged = unsafe transfer.memory.bytes.elementsEqual(item.bytes)
    precondition(isUnchanged, "memory rests while it is being written")
    counters.bytesWritten += item.bytes.count
    if !item.fault.isLost {
      medium.write(item.path, offset: transfer.offset, item.bytes)
    }
  }

  private static func failure(of item: Pending, code: Int32) -> DiskError {
    DiskError(
      item.transfer.kind == .read ? .read : .write, path: item.path, offset: item.transfer.offset,
      length: item.transfer.memory.byteCount, errno: code)
  }

  /// Traps when the order in which two transfers end would decide what they do.
  private func checkDisjoint(_ transfer: Transfer, _ other: Pending) {
    let kinds = [transfer.kind, other.transfer.kind]
    let shareFile =
      path(of: transfer.file) == other.path
      && transfer.fileRange.overlaps(other.transfer.fileRange)
    let shareMemory = transfer.memoryRange.overlaps(other.transfer.memoryRange)
    precondition(!shareFile || !kinds.contains(.write), "nobody else uses what is being written")
    precondition(!shareMemory || !kinds.contains(.read), "nobody else uses memory being filled")
  }
}

extension Transfer {
  fileprivate var fileRange: Range<Int> { offset..<offset + memory.byteCount }
  fileprivate var memoryRange: Range<Int> {
    let start = unsafe Int(bitPattern: memory.address)
    return start..<start + memory.byteCount
  }
}

import Base
internal import CSQLite
import Glibc
import Synchronization

/// Something that goes wrong with the databases of a machine, once. Numbers count from 1.
package enum DatabaseFault: Hashable, Sendable {
  /// The n-th write finds the drive full.
  case full(write: Int)
  /// The n-th write fails.
  case write(Int)
  /// The n-th sync fails, and no later one makes durable what it should have.
  case sync(Int)
}

/// The file system of the SQLite databases of a simulated machine: real files, through SQLite's own
/// way to them, of which a power failure leaves what was synced and, by seed, some of the rest.
///
/// Files are known by their names in a directory, as on a drive: what was synced is the content of
/// a file, and a name that was given or taken lasts only when its directory is synced. SQLite does
/// that with the first sync of a journal and where it deletes one for good. What a program does to
/// the files without SQLite is taken to be durable at once.
///
/// @unchecked Sendable: a simulated machine does one thing at a time.
package final class SimulatedDatabases: @unchecked Sendable {
  /// SQLite's name of the file system.
  package let name: String
  /// What goes wrong from now on, counted from here.
  package var faults: [DatabaseFault] = [] {
    didSet { (writes, syncs, faultsSoFar) = (0, 0, []) }
  }
  /// The faults that have come.
  package private(set) var faultsSoFar: [DatabaseFault] = []
  package private(set) var crashes = 0
  /// Files that SQLite holds open.
  private(set) var openCount = 0
  /// Counts processes: files opened by an earlier one are of no use.
  private(set) var process = 0

  let lifespan: Lifespan
  private let log: EventLog
  private let seed: UInt64
  private var occasions = 0
  private var writes = 0
  private var syncs = 0
  /// What each name stands for now and, where that may differ, after a power failure.
  private var present: [String: Content] = [:]
  private var durable: [String: Content] = [:]
  /// Names given, and taken (nil), whose directory was not synced since.
  private var renamings: [(path: String, content: Content?)] = []
  private var registration: Registration?

  /// A file whatever its name.
  final class Content {
    /// The system's number of the file, to notice that another one took its name.
    let number: UInt
    var image: DurableImage
    var openCount = 0
    /// SQLite syncs the directory with the first sync of a journal.
    var syncsDirectory: Bool

    init(number: UInt, image: DurableImage, syncsDirectory: Bool) {
      (self.number, self.image, self.syncsDirectory) = (number, image, syncsDirectory)
    }
  }

  package init(seed: UInt64, lifespan: Lifespan = Lifespan(), log: EventLog = EventLog()) {
    (self.seed, self.lifespan, self.log) = (seed, lifespan, log)
    name = "pagoda-simulated-\(Self.worlds.add(1, ordering: .relaxed).newValue)"
    registration = Registration(self)
  }

  /// Tells the names of this process's file systems apart.
  private static let worlds = Atomic(0)

  /// SQLite's own way to real files.
  var system: UnsafeMutablePointer<sqlite3_vfs> {
    guard let registration else { preconditionFailure("registered from the beginning") }
    return unsafe registration.system
  }

  /// A new process begins: databases that the last one left open are closed to all use.
  package func restart() {
    precondition(openCount == 0, "the process before is gone, and its connections with it")
    process += 1
  }
}

// MARK: - Power failures

extension SimulatedDatabases {
  /// Power has failed: the real files become what a drive would have kept.
  package func crash() {
    precondition(openCount == 0, "the process is gone, and its connections with it")
    crashes += 1
    occasions += 1
    var fates = Fates(seed: seed, occasion: occasions)
    let kept = fates.arrived(of: renamings.count)
    let paths = Set(present.keys).union(durable.keys)
    for (path, content) in renamings.prefix(kept) { durable[path] = content }
    for path in paths.sorted() {
      let wasRemovedByOthers = present[path] != nil && fileNumber(path) == nil
      guard !wasRemovedByOthers, hasDirectory(path) else { continue }
      if let content = durable[path] {
        content.image.settle(&fates)
        replaceFile(path, content.image.synced)
      } else {
        unsafe _ = unlink(path)
      }
    }
    (present, durable, renamings) = ([:], [:], [])
  }

  /// The program removes directories by itself; that is durable at once here.
  private func hasDirectory(_ path: String) -> Bool {
    unsafe access(parent(of: path), F_OK) == 0
  }

  private func replaceFile(_ path: String, _ bytes: [UInt8]) {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode_t(0o600))
    precondition(file >= 0, "\(path) can be written again")
    defer { close(file) }
    let written = unsafe write(file, bytes, bytes.count)
    precondition(written == bytes.count, "\(path) takes all bytes at once")
  }

  private func syncDirectory() {
    for (path, content) in renamings { durable[path] = content }
    renamings = []
  }
}

// MARK: - What SQLite does

extension SimulatedDatabases {
  /// The result of one operation.
  enum Verdict { case done, refused, full }

  func begin(
    _ action: EventLog.Action, _ path: String, offset: Int = 0, length: Int = 0
  ) -> Verdict {
    var verdict = lifespan.use() ? Verdict.done : .refused
    if verdict == .done, let fault = nextFault(action) {
      faultsSoFar.append(fault)
      if case .full = fault { verdict = .full } else { verdict = .refused }
    }
    let failure: Int32 = verdict == .done ? 0 : verdict == .full ? ENOSPC : EIO
    log.add(action, path, offset: offset, length: length, failure: failure)
    return verdict
  }

  private func nextFault(_ action: EventLog.Action) -> DatabaseFault? {
    switch action {
    case .write:
      writes += 1
      return faults.first { $0 == .full(write: writes) || $0 == .write(writes) }
    case .sync:
      syncs += 1
      return faults.first { $0 == .sync(syncs) }
    default: return nil
    }
  }

  /// A file was opened for writing; it is `isNew` where there was none of its name.
  func opened(_ path: String, isNew: Bool, isJournal: Bool) -> Content {
    openCount += 1
    guard let number = fileNumber(path) else { preconditionFailure("\(path) was opened") }
    if isNew {
      let content = Content(
        number: number, image: DurableImage(synced: []), syncsDirectory: isJournal)
      present[path] = content
      renamings.append((path, content))
      content.openCount += 1
      return content
    }
    let content = known(path, number) ?? found(path, number, isJournal)
    content.openCount += 1
    return content
  }

  /// What is remembered of the file, if need be under the name that it had before others renamed
  /// it.
  private func known(_ path: String, _ number: UInt) -> Content? {
    if let content = present[path], content.number == number { return content }
    guard let old = present.first(where: { $0.value.number == number }), fileNumber(old.key) == nil
    else { return nil }
    (present[old.key], durable[old.key]) = (nil, nil)
    renamings.removeAll { $0.path == old.key }
    (present[path], durable[path]) = (old.value, old.value)
    return old.value
  }

  /// A file that was there before.
  private func found(_ path: String, _ number: UInt, _ isJournal: Bool) -> Content {
    let content = Content(
      number: number, image: DurableImage(synced: readFile(path)), syncsDirectory: isJournal)
    renamings.removeAll { $0.path == path }
    (present[path], durable[path]) = (content, content)
    return content
  }

  func synced(_ content: Content) {
    content.image.sync()
    if content.syncsDirectory { syncDirectory() }
    content.syncsDirectory = false
  }

  func failedToSync(_ content: Content) {
    guard !lifespan.hasEnded else { return }
    occasions += 1
    var fates = Fates(seed: seed, occasion: occasions)
    content.image.settle(&fates)
  }

  /// - Parameter isSynced: the directory is synced, too.
  func deleted(_ path: String, isSynced: Bool) {
    present[path] = nil
    renamings.append((path, nil))
    if isSynced { syncDirectory() }
  }

  /// What is to be known of a file before its name is taken.
  func willDelete(_ path: String) {
    guard let number = fileNumber(path), known(path, number) == nil else { return }
    _ = found(path, number, false)
  }

  /// A file whose content and name are durable is the drive's again.
  func closed(_ path: String, _ content: Content) {
    openCount -= 1
    content.openCount -= 1
    guard content.openCount == 0, content.image.isSynced, present[path] === content,
      !renamings.contains(where: { $0.path == path })
    else { return }
    (present[path], durable[path]) = (nil, nil)
  }
}

/// The system's number of the file at `path`; nil when there is none.
func fileNumber(_ path: String) -> UInt? {
  var status = stat()
  return unsafe lstat(path, &status) == 0 ? status.st_ino : nil
}

private func readFile(_ path: String) -> [UInt8] {
  let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
  precondition(file >= 0, "\(path) can be read")
  defer { close(file) }
  var status = stat()
  unsafe _ = fstat(file, &status)
  return unsafe [UInt8](unsafeUninitializedCapacity: Int(status.st_size)) { buffer, count in
    count = unsafe max(0, read(file, buffer.baseAddress, buffer.count))
  }
}

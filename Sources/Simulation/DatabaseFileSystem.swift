internal import CSQLite
import Glibc

/// What SQLite knows of one simulated file system, from its registration to its end.
@safe final class Registration {
  /// SQLite's own way to real files.
  let system: UnsafeMutablePointer<sqlite3_vfs>
  private let table: UnsafeMutablePointer<sqlite3_vfs>
  private let name: UnsafeMutablePointer<CChar>

  /// Registers the file system of `databases` under its name, not as the one used by default.
  init(_ databases: SimulatedDatabases) {
    guard let system = unsafe sqlite3_vfs_find(nil), let name = unsafe strdup(databases.name) else {
      preconditionFailure("SQLite has a file system, and there is memory for a name")
    }
    unsafe self.system = unsafe system
    unsafe self.name = unsafe name
    unsafe table = .allocate(capacity: 1)
    // What is not replaced does not touch files.
    unsafe table.initialize(to: system.pointee)
    unsafe table.pointee.zName = UnsafePointer(name)
    unsafe table.pointee.pNext = nil
    unsafe table.pointee.szOsFile = Int32(MemoryLayout<FileRecord>.size)
    unsafe table.pointee.pAppData = Unmanaged.passUnretained(databases).toOpaque()
    unsafe table.pointee.xOpen = openFile
    unsafe table.pointee.xDelete = deleteFile
    unsafe table.pointee.xAccess = examineFile
    let code = unsafe sqlite3_vfs_register(table, 0)
    precondition(code == SQLITE_OK, "SQLite takes a file system")
  }

  deinit {
    unsafe sqlite3_vfs_unregister(table)
    unsafe table.deallocate()
    unsafe free(name)
  }
}

/// What SQLite allocates for each open file: begins as its `sqlite3_file` does.
@unsafe struct FileRecord {
  var methods: UnsafePointer<sqlite3_io_methods>?
  var file: Unmanaged<DatabaseFile>?
}

/// A file that SQLite has opened.
@safe final class DatabaseFile {
  let databases: SimulatedDatabases
  let path: String
  /// What a power failure would do to it; nil for files opened for reading and for temporary ones.
  let content: SimulatedDatabases.Content?
  let base: UnsafeMutablePointer<sqlite3_file>
  private let process: Int

  init(
    _ databases: SimulatedDatabases, _ path: String, _ content: SimulatedDatabases.Content?,
    base: UnsafeMutablePointer<sqlite3_file>
  ) {
    (self.databases, self.path, self.content) = (databases, path, content)
    unsafe self.base = unsafe base
    process = databases.process
  }

  deinit { unsafe UnsafeMutableRawPointer(base).deallocate() }

  /// Whether the process that opened it lives.
  var isUsable: Bool { process == databases.process && !databases.lifespan.hasEnded }

  func begin(
    _ action: EventLog.Action, offset: Int = 0, length: Int = 0
  ) -> SimulatedDatabases.Verdict {
    guard process == databases.process else { return .refused }
    return databases.begin(action, path, offset: offset, length: length)
  }
}

// MARK: - The file system

private func databases(_ table: UnsafeMutablePointer<sqlite3_vfs>?) -> SimulatedDatabases {
  guard let data = unsafe table?.pointee.pAppData else {
    preconditionFailure("a registered file system has databases")
  }
  return unsafe Unmanaged<SimulatedDatabases>.fromOpaque(data).takeUnretainedValue()
}

private func openFile(
  _ table: UnsafeMutablePointer<sqlite3_vfs>?, _ name: UnsafePointer<CChar>?,
  _ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32,
  _ outFlags: UnsafeMutablePointer<Int32>?
) -> Int32 {
  let databases = unsafe databases(table)
  let record = unsafe UnsafeMutableRawPointer(file)!.bindMemory(to: FileRecord.self, capacity: 1)
  unsafe record.initialize(to: FileRecord())
  let path = unsafe name.map { unsafe String(cString: $0) } ?? ""
  let isTracked = flags & SQLITE_OPEN_READWRITE != 0 && flags & SQLITE_OPEN_DELETEONCLOSE == 0
  let isNew = fileNumber(path) == nil
  guard databases.begin(isNew ? .create : .open, path) == .done else { return SQLITE_CANTOPEN }

  let system = unsafe databases.system
  let memory = UnsafeMutableRawPointer.allocate(
    byteCount: Int(unsafe system.pointee.szOsFile), alignment: 16)
  unsafe memory.initializeMemory(as: UInt8.self, repeating: 0, count: Int(system.pointee.szOsFile))
  let base = unsafe memory.assumingMemoryBound(to: sqlite3_file.self)
  let code = unsafe system.pointee.xOpen(system, name, base, flags, outFlags)
  guard code == SQLITE_OK else {
    unsafe memory.deallocate()
    return code
  }
  let journals = SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL
  let content =
    isTracked && !path.isEmpty
    ? databases.opened(path, isNew: isNew, isJournal: flags & journals != 0) : nil
  let opened = unsafe DatabaseFile(databases, path, content, base: base)
  unsafe record.pointee = unsafe FileRecord(
    methods: ioMethods, file: Unmanaged.passRetained(opened))
  return SQLITE_OK
}

private func deleteFile(
  _ table: UnsafeMutablePointer<sqlite3_vfs>?, _ name: UnsafePointer<CChar>?, _ isSynced: Int32
) -> Int32 {
  let databases = unsafe databases(table)
  let path = unsafe name.map { unsafe String(cString: $0) } ?? ""
  guard databases.begin(.delete, path, length: Int(isSynced)) == .done else {
    return sqliteIOError(.delete)
  }
  databases.willDelete(path)
  let code = unsafe databases.system.pointee.xDelete(databases.system, name, 0)
  if code == SQLITE_OK { databases.deleted(path, isSynced: isSynced != 0) }
  return code
}

private func examineFile(
  _ table: UnsafeMutablePointer<sqlite3_vfs>?, _ name: UnsafePointer<CChar>?, _ flags: Int32,
  _ result: UnsafeMutablePointer<Int32>?
) -> Int32 {
  let databases = unsafe databases(table)
  guard !databases.lifespan.hasEnded else { return sqliteIOError(.examine) }
  return unsafe databases.system.pointee.xAccess(databases.system, name, flags, result)
}

/// SQLite's extended results of operations that fail: macros that the importer cannot evaluate.
private enum FailedOperation: Int32 {
  case read = 1
  case write = 3
  case sync = 4
  case truncate = 6
  case size = 7
  case delete = 10
  case examine = 13
  case map = 21
}

private func sqliteIOError(_ operation: FailedOperation) -> Int32 {
  SQLITE_IOERR | operation.rawValue << 8
}

// MARK: - Open files

/// One table for all files; it lives as long as the process.
private nonisolated(unsafe) let ioMethods: UnsafePointer<sqlite3_io_methods> = {
  var methods = sqlite3_io_methods()
  // With shared memory, without mapped files.
  methods.iVersion = 2
  unsafe methods.xClose = closeFile
  unsafe methods.xRead = readFile
  unsafe methods.xWrite = writeFile
  unsafe methods.xTruncate = truncateFile
  unsafe methods.xSync = syncFile
  unsafe methods.xFileSize = { file, size in
    let file = unsafe opened(file)
    guard file.isUsable else { return sqliteIOError(.size) }
    return unsafe file.methods.xFileSize(file.base, size)
  }
  // Locks and shared memory die with the process: nothing to simulate.
  unsafe methods.xLock = { unsafe opened($0).methods.xLock(opened($0).base, $1) }
  unsafe methods.xUnlock = { unsafe opened($0).methods.xUnlock(opened($0).base, $1) }
  unsafe methods.xCheckReservedLock = {
    unsafe opened($0).methods.xCheckReservedLock(opened($0).base, $1)
  }
  unsafe methods.xFileControl = { _, _, _ in SQLITE_NOTFOUND }
  unsafe methods.xSectorSize = { unsafe opened($0).methods.xSectorSize(opened($0).base) }
  unsafe methods.xDeviceCharacteristics = {
    unsafe opened($0).methods.xDeviceCharacteristics(opened($0).base)
  }
  unsafe methods.xShmMap = {
    let file = unsafe opened($0)
    guard file.isUsable else { return sqliteIOError(.map) }
    return unsafe file.methods.xShmMap(file.base, $1, $2, $3, $4)
  }
  unsafe methods.xShmLock = { unsafe opened($0).methods.xShmLock(opened($0).base, $1, $2, $3) }
  unsafe methods.xShmBarrier = { unsafe opened($0).methods.xShmBarrier(opened($0).base) }
  unsafe methods.xShmUnmap = {
    let file = unsafe opened($0)
    return unsafe file.methods.xShmUnmap(file.base, file.isUsable ? $1 : 0)
  }
  let table = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
  unsafe table.initialize(to: methods)
  return unsafe UnsafePointer(table)
}()

extension DatabaseFile {
  /// What SQLite does to real files.
  fileprivate var methods: sqlite3_io_methods { unsafe base.pointee.pMethods.pointee }
}

private func opened(_ file: UnsafeMutablePointer<sqlite3_file>?) -> DatabaseFile {
  let record = unsafe UnsafeMutableRawPointer(file)?.assumingMemoryBound(to: FileRecord.self)
  guard let file = unsafe record?.pointee.file else { preconditionFailure("an open file") }
  return unsafe file.takeUnretainedValue()
}

private func closeFile(_ file: UnsafeMutablePointer<sqlite3_file>?) -> Int32 {
  let record = unsafe UnsafeMutableRawPointer(file)?.assumingMemoryBound(to: FileRecord.self)
  guard let owned = unsafe record?.pointee.file else { preconditionFailure("an open file") }
  let file = unsafe owned.takeRetainedValue()
  unsafe record?.pointee.file = nil
  let code = unsafe file.methods.xClose(file.base)
  if let content = file.content { file.databases.closed(file.path, content) }
  return code
}

private func readFile(
  _ file: UnsafeMutablePointer<sqlite3_file>?, _ buffer: UnsafeMutableRawPointer?, _ length: Int32,
  _ offset: Int64
) -> Int32 {
  let file = unsafe opened(file)
  guard file.isUsable else { return sqliteIOError(.read) }
  return unsafe file.methods.xRead(file.base, buffer, length, offset)
}

private func writeFile(
  _ file: UnsafeMutablePointer<sqlite3_file>?, _ buffer: UnsafeRawPointer?, _ length: Int32,
  _ offset: Int64
) -> Int32 {
  let file = unsafe opened(file)
  switch file.begin(.write, offset: Int(offset), length: Int(length)) {
  case .refused: return sqliteIOError(.write)
  case .full: return SQLITE_FULL
  case .done: break
  }
  let code = unsafe file.methods.xWrite(file.base, buffer, length, offset)
  guard code == SQLITE_OK else { return code }
  let bytes = unsafe UnsafeRawBufferPointer(start: buffer, count: Int(length))
  unsafe file.content?.image.add(.write(offset: Int(offset), Array(bytes)))
  return code
}

private func truncateFile(
  _ file: UnsafeMutablePointer<sqlite3_file>?, _ byteCount: Int64
) -> Int32 {
  let file = unsafe opened(file)
  guard file.begin(.truncate, length: Int(byteCount)) == .done else {
    return sqliteIOError(.truncate)
  }
  let code = unsafe file.methods.xTruncate(file.base, byteCount)
  if code == SQLITE_OK { file.content?.image.add(.truncate(byteCount: Int(byteCount))) }
  return code
}

/// Nothing has to reach a drive, so the real file is not synced.
private func syncFile(_ file: UnsafeMutablePointer<sqlite3_file>?, _ flags: Int32) -> Int32 {
  let file = unsafe opened(file)
  guard file.begin(.sync) == .done else {
    if let content = file.content { file.databases.failedToSync(content) }
    return sqliteIOError(.sync)
  }
  if let content = file.content { file.databases.synced(content) }
  return SQLITE_OK
}

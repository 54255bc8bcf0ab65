import Base
package import DirectIO
import Glibc

extension Store {
  /// Opens the store of `configuration` for writing; with `create`, makes it where there is none.
  ///
  /// Directories are named in the order in which they became part of the store, drained ones or not;
  /// further ones are added. Data files are made longer when more generations are to be kept.
  /// Order matters: everything that can be refused is refused before anything is made or changed.
  package static func open(
    _ configuration: StoreConfiguration, disk: any Disk, create: Bool
  ) throws(StorageError) -> Store {
    try checkDistinct(configuration.paths)
    if let (home, found) = try home(of: configuration.paths, on: disk.databaseFileSystem) {
      try checkKind(found, configuration, home + "/" + Manifest.name)
    }
    try endMove(configuration.paths, on: disk.databaseFileSystem)
    let configuration = configuration.only(
      try inUse(configuration.paths, on: disk.databaseFileSystem))
    let manifestPath = configuration.paths[0] + "/" + Manifest.name
    guard try exists(manifestPath) else {
      guard create else { throw .missing(path: manifestPath, what: "the store") }
      try requireSpace(configuration.bytesNeededPerPath, on: configuration.paths, isNew: true)
      try makeDirectories(configuration.paths)
      let lock = try StoreLock(configuration.paths[0] + "/" + lockName, .exclusive)
      // Another process may have made it between the look and the lock.
      if try !exists(manifestPath) { try make(configuration, disk: disk) }
      return try openLocked(configuration, disk: disk, lock: lock)
    }
    return try openLocked(configuration, disk: disk, lock: try writerLock(configuration, disk))
  }

  /// The lock of a store that is there. Without a lock file nobody writes, and what is no store of
  /// ours gets none.
  private static func writerLock(
    _ configuration: StoreConfiguration, _ disk: any Disk
  ) throws(StorageError) -> StoreLock {
    let manifestPath = configuration.paths[0] + "/" + Manifest.name
    let lockPath = configuration.paths[0] + "/" + lockName
    if try !exists(lockPath) {
      try check(
        Manifest.describe(manifestPath, on: disk.databaseFileSystem), configuration, manifestPath)
    }
    return try StoreLock(lockPath, .exclusive)
  }

  /// Opens any store for reading, beside other readers and beside a writer: the generations that
  /// are there now are kept until this store is gone.
  /// - Parameter paths: its directories, in the order they had when it was made.
  package static func openReadOnly(
    paths: [String], disk: any Disk
  ) throws(StorageError) -> Store {
    precondition(!paths.isEmpty, "a store has a path")
    try checkDistinct(paths)
    // An interrupted drain may have left the manifest in a directory without records.
    let found = try home(of: paths, on: disk.databaseFileSystem)?.directory
    let paths = try inUse(paths, on: disk.databaseFileSystem)
    let home = found ?? paths[0]
    let manifestPath = home + "/" + Manifest.name
    guard try exists(manifestPath) else { throw .missing(path: manifestPath, what: "the store") }
    _ = try describe(home, on: disk.databaseFileSystem)
    let lock = try StoreLock(home + "/" + lockName, .shared)
    try emptyLeftLog(manifestPath, on: disk.databaseFileSystem)
    try lock.lock(.manifest, .shared)
    defer { lock.unlock(.manifest) }
    let description = try Manifest.describe(manifestPath, on: disk.databaseFileSystem)
    guard paths.count == description.activePaths.count else {
      throw .missing(
        path: manifestPath, what: "one of \(description.activePaths.count) directories")
    }
    let files = try openFiles(paths, description, disk: disk, mode: .readOnly)
    if let unsigned = files.unsigned.first {
      guard try Manifest.isUnused(manifestPath, on: disk.databaseFileSystem) else {
        throw lostHeader(files.all[unsigned])
      }
    }
    let manifest = try Manifest(
      manifestPath, Manifest.readingMode(manifestPath), on: disk.databaseFileSystem)
    return Store(
      try manifest.load(), disk: disk, isReadOnly: true, keep: 1, files: files.all,
      manifest: manifest, lock: lock)
  }

  /// Moves what a crash left in the manifest's log into its file, if nobody writes, so that a reader
  /// needs no lock of SQLite's, which would keep the next writer out.
  private static func emptyLeftLog(
    _ manifestPath: String, on fileSystem: String?
  ) throws(StorageError) {
    let lockPath = parent(of: manifestPath) + "/" + lockName
    guard Manifest.hasLog(manifestPath), let lock = try? StoreLock(lockPath, .exclusive) else {
      return
    }
    try lock.whileUnread { () throws(StorageError) in
      // On a file system that is read-only the log is read where it is.
      _ = try? Manifest(manifestPath, .readWrite, on: fileSystem).load()
    }
  }

  /// What the store in `directory` is, without opening it or leaving a trace.
  package static func describe(_ directory: String) throws(StorageError) -> StoreDescription {
    try describe(directory, on: nil)
  }

  /// Between two transactions of a writer, if there is one: it has a lock file.
  static func describe(
    _ directory: String, on fileSystem: String?
  ) throws(StorageError) -> StoreDescription {
    let path = directory + "/" + Manifest.name
    guard try exists(path) else { throw .missing(path: path, what: "the store") }
    let lockPath = directory + "/" + lockName
    guard try exists(lockPath) else { return try Manifest.describe(path, on: fileSystem) }
    let lock = try StoreLock(lockPath, nil)
    try lock.lock(.manifest, .shared)
    defer { lock.unlock(.manifest) }
    return try Manifest.describe(path, on: fileSystem)
  }

  static let lockName = "store.lock"
}

// MARK: Opening

extension Store {
  private static func openLocked(
    _ configuration: StoreConfiguration, disk: any Disk, lock: StoreLock
  ) throws(StorageError) -> Store {
    let manifestPath = configuration.paths[0] + "/" + Manifest.name
    let description = try Manifest.describe(manifestPath, on: disk.databaseFileSystem)
    try check(description, configuration, manifestPath)
    lock.sign()
    let present = Array(configuration.paths.prefix(description.activePaths.count))
    var files = try openFiles(present, description, disk: disk, mode: .readWrite)
    let (manifest, read) = try lock.whileUnread { () throws(StorageError) in
      let manifest = try Manifest(manifestPath, .readWrite, on: disk.databaseFileSystem)
      return (manifest, try manifest.load())
    }
    var content = read
    try removeDrainedFiles(content.store)
    for id in files.unsigned where !content.table.isUnused(path: id) {
      throw lostHeader(files.all[id])
    }
    // Blank ones, whose creation was interrupted, and all others that never held a record: if the
    // sync of a header failed, reads see what the drive has not kept.
    for id in description.activePaths where content.table.isUnused(path: id) {
      try files.all[id]?.sign(DataFile.signature(of: id, in: description), on: disk)
    }
    let growth = StoreGrowth(description, configuration)
    if growth.isNeeded {
      try growth.carryOut(&files.all, manifest, lock, disk: disk)
      content = try manifest.load()
    }
    return Store(
      content, disk: disk, isReadOnly: false, keep: configuration.keep, files: files.all,
      manifest: manifest, lock: lock)
  }

  static func lostHeader(_ file: DataFile?) -> StorageError {
    .inconsistent(path: file?.path ?? "", reason: "the data file lost its header")
  }

  /// Refuses a store that is not the one wanted, or not all of it.
  private static func check(
    _ found: StoreDescription, _ wanted: StoreConfiguration, _ path: String
  ) throws(StorageError) {
    try checkKind(found, wanted, path)
    let active = found.activePaths
    guard active.count <= wanted.paths.count else {
      throw .directoriesLeftOut(
        path: path, recorded: active.map { found.paths[$0].directory }, named: wanted.paths)
    }
  }

  private static func checkKind(
    _ found: StoreDescription, _ wanted: StoreConfiguration, _ path: String
  ) throws(StorageError) {
    guard found.identity == wanted.identity else {
      throw .belongsToAnother(path: path, found: found.identity, wanted: wanted.identity)
    }
    guard found.geometry == wanted.geometry, found.blocks == wanted.blocks else {
      throw .belongsToAnother(
        path: path, found: "\(found.blocks) blocks of \(found.geometry.parameters) parameters",
        wanted: "\(wanted.blocks) blocks of \(wanted.geometry.parameters) parameters")
    }
  }

  /// The data file of each path by its number, and the numbers of those that are blank.
  typealias Files = (all: [DataFile?], unsigned: [Int])

  /// Opens every data file and compares its signature.
  static func openFiles(
    _ paths: [String], _ store: StoreDescription, disk: any Disk, mode: OpenMode
  ) throws(StorageError) -> Files {
    var files: Files = (store.paths.map { _ in nil }, [])
    for (path, id) in zip(paths, store.activePaths) {
      let bytes = DataFile.byteCount(slots: store.paths[id].slots, geometry: store.geometry)
      let file = try DataFile(path + "/" + DataFile.name, bytes: bytes, disk: disk, mode: mode)
      files.all[id] = file
      switch try file.state(on: disk, expecting: DataFile.signature(of: id, in: store)) {
      case .signed: continue
      case .unsigned: files.unsigned.append(id)
      case .other:
        throw .foreign(path: file.path, reason: "the data file of another store or path")
      }
    }
    return files
  }
}

// MARK: Making

extension Store {
  /// Makes data files and manifest. The manifest gets its name last: without it there is no store,
  /// and the same call after a crash takes over what it finds.
  private static func make(
    _ configuration: StoreConfiguration, disk: any Disk
  ) throws(StorageError) {
    var paths: [StorePath] = []
    for (index, path) in configuration.paths.enumerated() {
      try DataFile.make(path, bytes: configuration.bytesPerPath[index], disk: disk)
      paths.append(
        StorePath(
          directory: fromRoot(path), slots: configuration.slotsPerPath[index],
          isDrained: false, bytesWritten: 0))
    }
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    let description = StoreDescription(
      identity: configuration.identity, geometry: configuration.geometry,
      blocks: configuration.blocks, paths: paths,
      createdNanoseconds: now.tv_sec * 1_000_000_000 + now.tv_nsec)
    try makeManifest(in: configuration.paths[0], description, nil, on: disk.databaseFileSystem)
  }

  /// Makes a manifest, with a first generation if there is one, under its name or not at all.
  static func makeManifest(
    in directory: String, _ description: StoreDescription, _ commit: Commit?,
    on fileSystem: String?
  ) throws(StorageError) {
    let target = directory + "/" + Manifest.name
    let draft = target + ".new"
    for suffix in ["", "-journal", "-wal", "-shm"] { unsafe unlink(draft + suffix) }
    try Manifest.create(draft, description, on: fileSystem)
    if let commit {
      let manifest = try Manifest(draft, .readWrite, on: fileSystem)
      _ = try manifest.load()
      try manifest.write(commit, dropped: 0)
    }
    try Manifest.requireEmptyLog(draft)
    guard unsafe rename(draft, target) == 0 else {
      throw .system(action: "rename to", path: target, code: errno)
    }
    try syncDirectory(directory)
  }

  static func exists(_ path: String) throws(StorageError) -> Bool {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return false }
      throw .system(action: "examine", path: path, code: errno)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .foreign(path: path, reason: "not a regular file")
    }
    return true
  }
}

package import DirectIO
import Glibc

extension Store {
  /// Opens the store of `configuration` for writing; with `create`, makes it where there is none.
  ///
  /// Order matters: everything that can be refused is refused before anything is made or changed.
  package static func open(
    _ configuration: StoreConfiguration, disk: any Disk, create: Bool
  ) throws(StorageError) -> Store {
    let manifestPath = configuration.paths[0] + "/" + Manifest.name
    try checkDistinct(configuration.paths)
    if try !exists(manifestPath) {
      guard create else { throw .missing(path: manifestPath, what: "the store") }
      try requireSpace(for: configuration)
      try makeDirectories(configuration.paths)
      let lock = try StoreLock(configuration.paths[0] + "/" + lockName, .exclusive)
      // Another process may have made it between the look and the lock.
      if try !exists(manifestPath) { try make(configuration, disk: disk) }
      return try openLocked(configuration, disk: disk, lock: lock)
    }
    let found = try Manifest.describe(manifestPath, on: disk.databaseFileSystem)
    try check(found, configuration, manifestPath)
    let lock = try StoreLock(configuration.paths[0] + "/" + lockName, .exclusive)
    return try openLocked(configuration, disk: disk, lock: lock)
  }

  /// Opens any store for reading, beside other readers and without a writer.
  /// - Parameter paths: its directories, in the order they had when it was made.
  package static func openReadOnly(
    paths: [String], disk: any Disk
  ) throws(StorageError) -> Store {
    precondition(!paths.isEmpty, "a store has a path")
    try checkDistinct(paths)
    let manifestPath = paths[0] + "/" + Manifest.name
    let description = try describe(paths[0])
    guard paths.count == description.paths.count else {
      throw .missing(path: manifestPath, what: "one of \(description.paths.count) directories")
    }
    let lock = try StoreLock(paths[0] + "/" + lockName, .shared)
    let files = try openFiles(paths, description, disk: disk, mode: .readOnly)
    let manifest = try Manifest(manifestPath, readOnly: true, on: disk.databaseFileSystem)
    return try Store(
      description: description, disk: disk, isReadOnly: true, files: files, manifest: manifest,
      lock: lock)
  }

  /// What the store in `directory` is, without opening it or leaving a trace.
  package static func describe(_ directory: String) throws(StorageError) -> StoreDescription {
    let path = directory + "/" + Manifest.name
    guard try exists(path) else { throw .missing(path: path, what: "the store") }
    return try Manifest.describe(path)
  }

  static let lockName = "store.lock"
}

// MARK: Opening

extension Store {
  private static func openLocked(
    _ configuration: StoreConfiguration, disk: any Disk, lock: consuming StoreLock
  ) throws(StorageError) -> Store {
    let manifestPath = configuration.paths[0] + "/" + Manifest.name
    let description = try Manifest.describe(manifestPath, on: disk.databaseFileSystem)
    try check(description, configuration, manifestPath)
    let files = try openFiles(configuration.paths, description, disk: disk, mode: .readWrite)
    let manifest = try Manifest(manifestPath, readOnly: false, on: disk.databaseFileSystem)
    return try Store(
      description: description, disk: disk, isReadOnly: false, files: files, manifest: manifest,
      lock: lock)
  }

  /// Refuses a store that is not the one wanted.
  private static func check(
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
    guard found.paths.count == wanted.paths.count else {
      throw .belongsToAnother(
        path: path, found: "on \(found.paths.count) paths", wanted: "\(wanted.paths.count) paths")
    }
  }

  /// Opens every data file and compares its signature. Files of an interrupted creation are signed
  /// now; that can only be before the first commit.
  private static func openFiles(
    _ paths: [String], _ store: StoreDescription, disk: any Disk, mode: OpenMode
  ) throws(StorageError) -> [DataFile] {
    var files: [DataFile] = []
    for (path, slots) in zip(paths, store.slotsPerPath) {
      let bytes = DataFile.byteCount(slots: slots, geometry: store.geometry)
      files.append(try openFile(path + "/" + DataFile.name, bytes: bytes, disk: disk, mode: mode))
    }
    var unsigned: [Int] = []
    for (index, file) in files.enumerated() {
      switch try file.state(on: disk, expecting: DataFile.signature(of: index, in: store)) {
      case .signed: continue
      case .unsigned: unsigned.append(index)
      case .other:
        throw .foreign(path: file.path, reason: "the data file of another store or path")
      }
    }
    if unsigned.isEmpty { return files }
    let manifestPath = paths[0] + "/" + Manifest.name
    guard try Manifest.isUnused(manifestPath, on: disk.databaseFileSystem) else {
      throw .inconsistent(path: files[unsigned[0]].path, reason: "the data file lost its header")
    }
    if mode == .readOnly { return files }
    for index in unsigned {
      try files[index].sign(DataFile.signature(of: index, in: store), on: disk)
    }
    return files
  }

  private static func openFile(
    _ path: String, bytes: Int, disk: any Disk, mode: OpenMode
  ) throws(StorageError) -> DataFile {
    do {
      return DataFile(file: try disk.openFile(path, byteCount: bytes, mode), path: path)
    } catch {
      switch error.code {
      case ENOENT: throw .missing(path: path, what: "the data file")
      case ELOOP: throw .foreign(path: path, reason: "a symbolic link, not a data file")
      case 0: throw .inconsistent(path: path, reason: error.remedy)
      default: throw .disk(error)
      }
    }
  }
}

// MARK: Making

extension Store {
  /// Makes data files and manifest. The manifest gets its name last: without it there is no store,
  /// and the same call after a crash takes over what it finds.
  private static func make(
    _ configuration: StoreConfiguration, disk: any Disk
  ) throws(StorageError) {
    for (path, bytes) in zip(configuration.paths, configuration.bytesPerPath) {
      try makeFile(path + "/" + DataFile.name, bytes: bytes, disk: disk)
      try syncDirectory(path)
    }
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    let description = StoreDescription(
      identity: configuration.identity, geometry: configuration.geometry,
      blocks: configuration.blocks, paths: configuration.paths,
      slotsPerPath: configuration.slotsPerPath,
      createdNanoseconds: now.tv_sec * 1_000_000_000 + now.tv_nsec)
    let target = configuration.paths[0] + "/" + Manifest.name
    let draft = target + ".new"
    for suffix in ["", "-journal", "-wal", "-shm"] { unsafe unlink(draft + suffix) }
    try Manifest.create(draft, description, on: disk.databaseFileSystem)
    guard unsafe rename(draft, target) == 0 else {
      throw .system(action: "rename to", path: target, code: errno)
    }
    try syncDirectory(configuration.paths[0])
  }

  private static func makeFile(
    _ path: String, bytes: Int, disk: any Disk
  ) throws(StorageError) {
    do {
      _ = try disk.openFile(path, byteCount: bytes, .create)
    } catch {
      guard error.code == EEXIST else { throw .disk(error) }
      try takeOver(path, bytes: bytes, disk: disk)
    }
  }

  /// Replaces a data file without a manifest when an interrupted creation left it; anything else is
  /// somebody's.
  private static func takeOver(
    _ path: String, bytes: Int, disk: any Disk
  ) throws(StorageError) {
    if let leftover = try Leftover(at: path) {
      try leftover.remove()
      do { _ = try disk.openFile(path, byteCount: bytes, .create) } catch { throw .disk(error) }
      return
    }
    // A file that this disk has and the file system has not: a disk in memory, which makes files
    // whole. It goes on being used.
    let file = try openFile(path, bytes: bytes, disk: disk, mode: .readWrite)
    guard try file.state(on: disk, expecting: []) == .unsigned else {
      throw .foreign(path: path, reason: "a data file without a manifest")
    }
  }

  private static func exists(_ path: String) throws(StorageError) -> Bool {
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

  private static func syncDirectory(_ path: String) throws(StorageError) {
    let descriptor = unsafe Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system(action: "open", path: path, code: errno) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw .system(action: "sync", path: path, code: errno) }
  }
}

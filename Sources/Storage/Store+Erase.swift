import Glibc

extension Store {
  /// Deletes the store in `paths`, for a run that starts over: its manifest first, so that an
  /// interruption leaves no half store, then data files and lock. Other files are left alone,
  /// another store's in a directory that this one has left included; so are directories that hold
  /// any.
  /// - Throws: `StorageError.locked` when somebody uses it.
  package static func erase(_ paths: [String]) throws(StorageError) {
    var home: String?
    for path in paths where home == nil {
      let hasManifest = try exists(path + "/" + Manifest.name)
      let hasLock = try exists(path + "/" + lockName)
      if hasManifest || hasLock { home = path }
    }
    guard let home else { return }
    let lock = try StoreLock(home + "/" + lockName, .exclusive)
    try lock.keepReadersOut()
    // A manifest that cannot be read any more is a reason to start over, too.
    let created =
      (try? Manifest.describe(home + "/" + Manifest.name))?.createdNanoseconds
      ?? DataFile.created(at: home + "/" + DataFile.name)
    // An interrupted drain leaves a second manifest.
    for path in paths where path != home {
      let there = try? Manifest.describe(path + "/" + Manifest.name)
      if let there, there.createdNanoseconds == created { try removeManifestFiles(from: path) }
    }
    try removeManifestFiles(from: home)
    for path in paths {
      let file = path + "/" + DataFile.name
      let isOwn = created != nil && DataFile.created(at: file) == created
      let isBlank = try? Leftover(at: file) != nil
      if isOwn || isBlank == true || path == home { try remove([DataFile.name], from: path) }
    }
    try remove([lockName, snapshotLockName], from: home)
    // Only empty directories go.
    for path in paths { unsafe rmdir(path) }
    withExtendedLifetime(lock) {}
  }

  private static func removeManifestFiles(from directory: String) throws(StorageError) {
    try remove(
      ["", "-wal", "-shm", ".new"].map { Manifest.name + $0 }
        + ["", ".new"].map { ManifestDigest.name + $0 }, from: directory)
  }

  /// Deletes files of the store, in this order, where they are there.
  static func remove(_ names: [String], from directory: String) throws(StorageError) {
    for name in names {
      let path = directory + "/" + name
      guard unsafe unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR else {
        throw .system(action: "delete", path: path, code: errno)
      }
    }
    var status = stat()
    if unsafe stat(directory, &status) == 0 { try syncDirectory(directory) }
  }
}

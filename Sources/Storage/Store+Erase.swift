import Foundation

extension Store {
  /// Deletes the store in `paths`, for a run that starts over: its manifest first, so that an
  /// interruption leaves no half store, then data files and lock. Other files are left alone, and
  /// so are directories that hold any.
  /// - Throws: `StorageError.locked` when somebody uses it.
  package static func erase(_ paths: [String]) throws(StorageError) {
    let manager = FileManager.default
    let manifest = "\(paths[0])/\(Manifest.name)"
    let lockPath = "\(paths[0])/\(lockName)"
    guard manager.fileExists(atPath: manifest) || manager.fileExists(atPath: lockPath) else {
      return
    }
    let lock = try StoreLock(lockPath, .exclusive)
    try lock.keepReadersOut()
    let names =
      ["", "-wal", "-shm", ".new"].map { Manifest.name + $0 }
      + ["", ".new"].map { ManifestDigest.name + $0 } + [DataFile.name, lockName]
    for name in names {
      for path in paths where manager.fileExists(atPath: "\(path)/\(name)") {
        do {
          try manager.removeItem(atPath: "\(path)/\(name)")
        } catch {
          throw .system(action: "delete", path: "\(path)/\(name)", code: EIO)
        }
      }
    }
    for path in paths where (try? manager.contentsOfDirectory(atPath: path))?.isEmpty == true {
      unsafe rmdir(path)
    }
    withExtendedLifetime(lock) {}
  }
}

import Glibc

/// Which directories of a store are in use, found by looking at its manifest.
extension Store {
  /// Whether one of `paths` has a manifest.
  package static func isThere(_ paths: [String]) -> Bool {
    paths.contains { (try? exists($0 + "/" + Manifest.name)) == true }
  }

  /// Those of `paths` that hold records now, in their order: without the drained ones, so that the
  /// same command goes on after a drain. All of them where there is no manifest, or none that can be
  /// read: opening says why.
  /// - Throws: `.directoriesLeftOut` when nothing of the store is in any of them.
  static func inUse(_ paths: [String], on fileSystem: String?) throws(StorageError) -> [String] {
    guard let (home, store) = try home(of: paths, on: fileSystem) else { return paths }
    let active = paths.filter { !store.isDrained($0) }
    guard !active.isEmpty else {
      throw .directoriesLeftOut(
        path: home + "/" + Manifest.name,
        recorded: store.activePaths.map { store.paths[$0].directory }, named: paths)
    }
    return active
  }

  /// The first of `paths` with a manifest, and what that says; nil where it cannot be read for what
  /// it is.
  static func home(
    of paths: [String], on fileSystem: String?
  ) throws(StorageError) -> (directory: String, store: StoreDescription)? {
    for path in paths where try exists(path + "/" + Manifest.name) {
      do throws(StorageError) {
        return (path, try describe(path, on: fileSystem))
      } catch {
        guard error.exitCode == 65 else { throw error }
        return nil
      }
    }
    return nil
  }

  /// Ends a drain of the manifest's own directory that was interrupted: the manifest was copied to
  /// the first directory in use, or not yet, and is still where it was. What is not of the same
  /// store is left alone: somebody else may use a drained directory.
  static func endMove(_ paths: [String], on fileSystem: String?) throws(StorageError) {
    guard let (_, store) = try home(of: paths, on: fileSystem) else { return }
    guard let home = try inUse(paths, on: fileSystem).first else { return }
    for old in paths where store.isDrained(old) {
      let manifestPath = old + "/" + Manifest.name
      guard try exists(manifestPath), let here = try? describe(old, on: fileSystem),
        here.isSameStore(as: store), here.isDrained(old)
      else { continue }
      let lock = try StoreLock(old + "/" + lockName, .exclusive)
      try lock.keepReadersOut()
      try lock.lock(.manifest, .exclusive)
      // What a crash left in its log belongs to it.
      _ = try Manifest(manifestPath, .readWrite, on: fileSystem).load()
      if try exists(home + "/" + Manifest.name) {
        guard try describe(home, on: fileSystem).isSameStore(as: here) else {
          throw .foreign(path: home + "/" + Manifest.name, reason: "the manifest of another store")
        }
      } else {
        try copyManifest(from: old, to: home)
      }
      try removeManifest(from: old)
    }
  }

  /// Deletes the data files that interrupted drains left in their directories, if they are still
  /// this store's.
  static func removeDrainedFiles(_ store: StoreDescription) throws(StorageError) {
    for (id, path) in store.paths.enumerated()
    where path.isDrained && !leadsElsewhere(path.directory) {
      let file = path.directory + "/" + DataFile.name
      if DataFile.header(of: file) == DataFile.signature(of: id, in: store) {
        try remove([DataFile.name], from: path.directory)
      }
    }
  }

  /// The directories in use of the store in `first`, as its manifest names them, and `first` before
  /// them: it has the manifest, though a drain of it may have been interrupted.
  /// - Throws: `.foreign` for a name that leads elsewhere: not from the root, through `..` or a
  ///   symbolic link. Whoever made such a manifest may have wanted other files read.
  package static func directories(of first: String) throws(StorageError) -> [String] {
    let store = try describe(first)
    var directories = [first]
    // The first one in use is `first`, wherever that has been moved to.
    for id in store.activePaths.dropFirst(store.isDrained(first) ? 0 : 1) {
      let named = store.paths[id].directory
      guard !leadsElsewhere(named) else {
        throw .foreign(
          path: first + "/" + Manifest.name,
          reason: "it names the directory \(named), which leads elsewhere: name all directories "
            + "with --store if that is right")
      }
      directories.append(named)
    }
    return directories
  }

  /// Whether a directory's name is not the one that `fromRoot` gives: not from the root, or through
  /// `..` or a symbolic link.
  package static func leadsElsewhere(_ name: String) -> Bool {
    let parts = name.split(separator: "/")
    return !name.hasPrefix("/") || parts.contains("..") || parts.contains(".")
      || fromRoot(name) != name
  }
}

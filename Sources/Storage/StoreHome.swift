import Glibc

/// Which directories of a store are in use, found by looking at its manifest.
extension Store {
  /// Whether one of `paths` has a manifest.
  package static func isThere(_ paths: [String]) -> Bool {
    paths.contains { (try? exists($0 + "/" + Manifest.name)) == true }
  }

  /// Those of `paths` that hold records now, the one with the manifest first: without the drained
  /// ones, so that the same command goes on after a drain. All of them where there is no manifest.
  static func inUse(_ paths: [String], on fileSystem: String?) throws(StorageError) -> [String] {
    var home: String?
    for path in paths where home == nil {
      if try exists(path + "/" + Manifest.name) { home = path }
    }
    guard let home else { return paths }
    guard let store = try? describe(home, on: fileSystem) else {
      return paths
    }
    let drained = store.paths.filter(\.isDrained).map(\.directory)
    guard !drained.isEmpty else { return paths }
    return paths.filter { !drained.contains(fromRoot($0)) }
  }

  /// Ends a drain of the manifest's own directory that was interrupted: the manifest was copied to
  /// `paths`' first directory in use, or not yet, and is still where it was.
  static func endMove(_ paths: [String], on fileSystem: String?) throws(StorageError) {
    let active = try inUse(paths, on: fileSystem)
    for old in paths where !active.contains(old) {
      guard try exists(old + "/" + Manifest.name), let home = active.first else { continue }
      let lock = try StoreLock(old + "/" + lockName, .exclusive)
      try lock.keepReadersOut()
      if try !exists(home + "/" + Manifest.name) { try copyManifest(from: old, to: home) }
      try removeManifest(from: old)
    }
  }

  /// The directories in use of the store in `first`, as its manifest names them.
  /// - Throws: `.foreign` for a name that leads elsewhere: not from the root, through `..` or a
  ///   symbolic link. Whoever made such a manifest may have wanted other files read.
  package static func directories(of first: String) throws(StorageError) -> [String] {
    let store = try describe(first)
    var directories = [first]
    for id in store.activePaths.dropFirst() {
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

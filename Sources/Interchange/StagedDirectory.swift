import Foundation

/// A directory in the making. Everything goes into `DIR.partial`, which takes the name `DIR` when it
/// is complete and on the disk; until then there is no `DIR`, or an empty one.
///
/// What a killed process leaves is `DIR.partial` with a mark in it, and the next one for the same
/// `DIR` deletes it. A process that is alive has the mark locked.
package struct StagedDirectory: ~Copyable {
  /// Where files are to be made.
  package let path: String
  private let final: String
  /// Of the mark: the lock lasts as long as it is open.
  private let descriptor: Int32

  private static let mark = ".pagoda-unfinished"

  /// - Parameter neededBytes: refused when the file system has less.
  package init(_ target: String, neededBytes: Int) throws(InterchangeError) {
    let final = Self.resolved(target)
    let path = final + ".partial"
    try Self.checkTarget(final)
    try Self.removeLeftover(path)
    try Self.checkSpace(Self.parent(of: final), neededBytes)
    try Self.attempt("create", Self.parent(of: path)) {
      try FileManager.default.createDirectory(
        atPath: Self.parent(of: path), withIntermediateDirectories: true)
    }
    // Whoever makes it is alone with it; what is left when the rest fails goes with the next one.
    guard unsafe mkdir(path, mode_t(0o777)) == 0 else {
      if errno == EEXIST { throw .inUse(path: path) }
      throw .system(action: "create", path: path, offset: 0, code: errno)
    }
    try writeSynced([], to: "\(path)/\(Self.mark)")
    self.descriptor = try Self.lock("\(path)/\(Self.mark)")
    self.path = path
    self.final = final
  }

  /// What was not published is deleted.
  deinit {
    try? FileManager.default.removeItem(atPath: path)
    close(descriptor)
  }

  /// Gives the directory its name. The mark goes last, so that every interruption leaves either
  /// what the next process deletes or the whole directory.
  package consuming func publish() throws(InterchangeError) {
    try Self.sync(path)
    guard unsafe rename(path, final) == 0 else {
      if errno == ENOTEMPTY || errno == EEXIST { throw .occupied(path: final) }
      throw .system(action: "rename to", path: final, offset: 0, code: errno)
    }
    try Self.sync(Self.parent(of: final))
    try Self.attempt("finish", final) { [final] in
      try FileManager.default.removeItem(atPath: "\(final)/\(Self.mark)")
    }
  }

  /// Without a slash at the end, and with a last link followed.
  private static func resolved(_ path: String) -> String {
    let url = URL(fileURLWithPath: path)
    return (FileManager.default.fileExists(atPath: path) ? url.resolvingSymlinksInPath() : url).path
  }

  private static func parent(of path: String) -> String {
    URL(fileURLWithPath: path).deletingLastPathComponent().path
  }

  private static func checkTarget(_ path: String) throws(InterchangeError) {
    guard FileManager.default.fileExists(atPath: path) else { return }
    guard let entries = try? FileManager.default.contentsOfDirectory(atPath: path),
      entries.isEmpty
    else { throw .occupied(path: path) }
    guard let inside = device(path), let outside = device(parent(of: path)), inside == outside
    else {
      throw .notReplaceable(path: path, cause: "is the root of a file system")
    }
  }

  private static func device(_ path: String) -> UInt? {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? status.st_dev : nil
  }

  private static func removeLeftover(_ path: String) throws(InterchangeError) {
    guard FileManager.default.fileExists(atPath: path) else { return }
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [""]
    guard entries.isEmpty || entries.contains(mark) else { throw .occupied(path: path) }
    let descriptor = entries.isEmpty ? nil : try lock("\(path)/\(mark)")
    defer { descriptor.map { _ = close($0) } }
    try attempt("delete", path) {
      // The mark last: an interruption leaves a directory that can be deleted.
      for name in entries where name != mark {
        try FileManager.default.removeItem(atPath: "\(path)/\(name)")
      }
      try FileManager.default.removeItem(atPath: path)
    }
  }

  /// Tries for half a second: the kernel may still be closing the files of a killed process.
  private static func lock(_ path: String) throws(InterchangeError) -> Int32 {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw .system(action: "open", path: path, offset: 0, code: errno)
    }
    for _ in 0..<50 {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
        if isStill(descriptor, at: path) { return descriptor }
        break
      }
      usleep(10_000)
    }
    close(descriptor)
    throw .inUse(path: path)
  }

  /// Whether the file was not removed meanwhile: its lock keeps nobody out then.
  private static func isStill(_ descriptor: Int32, at path: String) -> Bool {
    var (open, named) = (stat(), stat())
    return unsafe fstat(descriptor, &open) == 0 && lstat(path, &named) == 0
      && open.st_dev == named.st_dev && open.st_ino == named.st_ino
  }

  private static func checkSpace(_ path: String, _ needed: Int) throws(InterchangeError) {
    var space = statvfs()
    guard unsafe statvfs(path, &space) == 0 else {
      if errno == ENOENT { throw .missing(path: path, what: "the directory above the new one") }
      throw .system(action: "measure the free space of", path: path, offset: 0, code: errno)
    }
    let free = Int(space.f_bavail) * Int(space.f_frsize)
    guard needed <= free else { throw .tooSmall(path: path, neededBytes: needed, freeBytes: free) }
  }

  private static func sync(_ path: String) throws(InterchangeError) {
    let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer { close(descriptor) }
    guard descriptor >= 0, fsync(descriptor) == 0 else {
      throw .system(action: "sync", path: path, offset: 0, code: errno)
    }
  }

  private static func attempt(
    _ action: String, _ path: String, _ body: () throws -> Void
  ) throws(InterchangeError) {
    do {
      try body()
    } catch {
      let code = (error as NSError).userInfo[NSUnderlyingErrorKey].flatMap { $0 as? NSError }?.code
      throw .system(action: action, path: path, offset: 0, code: Int32(code ?? Int(EIO)))
    }
  }
}

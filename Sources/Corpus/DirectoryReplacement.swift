import Foundation
import Glibc

/// Puts a finished directory where another was, without a moment in which neither is there, and
/// deletes nothing but what this code made.
package enum DirectoryReplacement {
  /// An empty file that says: a preparation made this directory, and may delete it. Written first
  /// and removed last.
  static let marker = ".pagoda-unfinished"

  /// Refuses what is no corpus, not empty and not marked as unfinished.
  static func check(_ path: String) throws(CorpusError) {
    guard isPresent(path) else { return }
    guard !isLink(path), DirectoryWalk.isDirectory(path) else { throw .notACorpus(path: path) }
    let held = try DirectoryWalk.children(of: path)
    guard held.isEmpty || held.contains(CorpusFile.manifest) || held.contains(marker) else {
      throw .notACorpus(path: path)
    }
  }

  /// Makes the empty directory `path`; what an interrupted preparation left there is deleted.
  static func start(_ path: String) throws(CorpusError) {
    try remove(path)
    try attempt(path) {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    try mark(path)
  }

  /// Gives the directory `partial` the name `final`. A directory that had it is deleted.
  /// - Parameter canExchange: whether to ask the file system to exchange the two names at once. One
  ///   that cannot leaves a moment without `final`, from which `recover` leads back.
  package static func publish(
    _ partial: String, as final: String, canExchange: Bool = true
  ) throws(CorpusError) {
    try check(final)
    try attempt(partial) { try removeIfPresent("\(partial)/\(marker)") }
    guard isPresent(final) else { return try move(partial, to: final) }
    if canExchange {
      let flags = UInt32(RENAME_EXCHANGE)
      if unsafe renameat2(AT_FDCWD, partial, AT_FDCWD, final, flags) == 0 {
        return try remove(partial)
      }
      guard [EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) else {
        throw .unwritable(path: final, cause: unsafe String(cString: strerror(errno)))
      }
    }
    let old = final + ".old"
    // Not a corpus of that name: only what this code has put there.
    guard try isMarked(old) || !isPresent(old) else { throw .notACorpus(path: old) }
    try remove(old)
    try mark(final)
    try move(final, to: old)
    try move(partial, to: final)
    try remove(old)
  }

  /// Brings back the directory that `publish` had set aside when it was interrupted.
  package static func recover(_ final: String) throws(CorpusError) {
    let old = final + ".old"
    guard !isPresent(final), try isMarked(old) else { return }
    try move(old, to: final)
    try attempt(final) { try removeIfPresent("\(final)/\(marker)") }
  }

  /// Deletes a directory that `check` accepts. It stays marked until it is empty, so that an
  /// interruption leaves one that can be deleted.
  private static func remove(_ path: String) throws(CorpusError) {
    try check(path)
    guard isPresent(path) else { return }
    try mark(path)
    let held = try DirectoryWalk.children(of: path).filter { $0 != marker }
    try attempt(path) {
      for name in held + [marker] { try FileManager.default.removeItem(atPath: "\(path)/\(name)") }
      try FileManager.default.removeItem(atPath: path)
    }
  }

  private static func isMarked(_ path: String) throws(CorpusError) -> Bool {
    guard isPresent(path), !isLink(path), DirectoryWalk.isDirectory(path) else { return false }
    return try DirectoryWalk.children(of: path).contains(marker)
  }

  private static func mark(_ path: String) throws(CorpusError) {
    try attempt(path) { try Data().write(to: URL(fileURLWithPath: "\(path)/\(marker)")) }
  }

  private static func move(_ from: String, to: String) throws(CorpusError) {
    guard unsafe rename(from, to) == 0 else {
      throw .unwritable(path: to, cause: unsafe String(cString: strerror(errno)))
    }
  }

  private static func removeIfPresent(_ path: String) throws {
    if isPresent(path) { try FileManager.default.removeItem(atPath: path) }
  }

  private static func attempt(_ path: String, _ body: () throws -> Void) throws(CorpusError) {
    do {
      try body()
    } catch {
      throw .unwritable(path: path, cause: error.localizedDescription)
    }
  }

  /// Also of a symbolic link to nothing.
  private static func isPresent(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0
  }

  private static func isLink(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK
  }
}

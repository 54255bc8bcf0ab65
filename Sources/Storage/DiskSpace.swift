import Base
import Glibc

/// Refuses files that would not fit, before anything of them exists.
///
/// Paths on one file system are added up: each may fit alone and both not. What an interrupted
/// creation has already taken counts as free, since its files are replaced.
/// - Parameter bytes: what each of `paths` is to get in addition to what it has.
/// - Throws: `.foreign` when a data file is there that no interrupted creation left.
func requireSpace(_ bytes: [Int], on paths: [String], isNew: Bool) throws(StorageError) {
  var needs: [UInt: (path: String, needed: Int, free: Int)] = [:]
  for (path, bytes) in zip(paths, bytes) {
    let (device, free) = try fileSystem(under: path)
    let leftover = isNew ? try Leftover(at: path + "/" + DataFile.name)?.allocatedBytes ?? 0 : 0
    let before = needs[device] ?? (path, 0, free)
    needs[device] = (before.path, before.needed + bytes, before.free + leftover)
  }
  for need in needs.values where need.needed > need.free {
    throw .diskTooSmall(path: need.path, needed: need.needed, free: need.free)
  }
}

/// The file system that `path` is on or, when it does not exist yet, its parent.
private func fileSystem(under path: String) throws(StorageError) -> (device: UInt, free: Int) {
  var place = path
  var status = stat()
  if unsafe stat(path, &status) != 0 {
    guard errno == ENOENT else { throw .system(action: "examine", path: path, code: errno) }
    place = parent(of: path)
    guard unsafe stat(place, &status) == 0 else {
      throw .missing(path: path, what: "the directory above it")
    }
  }
  guard status.st_mode & S_IFMT == S_IFDIR else {
    throw .foreign(path: place, reason: "not a directory")
  }
  var space = statvfs()
  guard unsafe statvfs(place, &space) == 0 else {
    throw .system(action: "measure the free space of", path: place, code: errno)
  }
  return (status.st_dev, Int(space.f_bavail) * Int(space.f_frsize))
}

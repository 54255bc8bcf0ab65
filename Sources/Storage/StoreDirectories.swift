import Base
import Glibc

/// Makes the directories of a store where there are none.
/// - Throws: `.sameDirectory`. Whatever is thrown, directories made until then are removed again.
func makeDirectories(_ paths: [String]) throws(StorageError) {
  var made: [String] = []
  do throws(StorageError) {
    for path in paths {
      if try makeDirectory(path) { made.append(path) }
    }
    try checkDistinct(paths)
    for path in made { try syncDirectory(parent(of: path)) }
  } catch {
    for path in made { unsafe rmdir(path) }
    throw error
  }
}

/// Refuses paths that name one directory: their data files would be the same bytes. Names are not
/// compared, since `a`, `./a` and a symbolic link to it differ. Says nothing of missing
/// directories.
func checkDistinct(_ paths: [String]) throws(StorageError) {
  struct Identity: Hashable {
    let device: UInt
    let inode: UInt
  }
  var seen: [Identity: String] = [:]
  for path in paths {
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { continue }
    let identity = Identity(device: status.st_dev, inode: status.st_ino)
    if let first = seen.updateValue(path, forKey: identity) { throw .sameDirectory(first, path) }
  }
}

/// - Returns: whether it was missing.
private func makeDirectory(_ path: String) throws(StorageError) -> Bool {
  if unsafe mkdir(path, mode_t(0o700)) == 0 { return true }
  guard errno == EEXIST else { throw .system(action: "create", path: path, code: errno) }
  return false
}

/// `path` from the root and without symbolic links, as far as it is there: to be recorded.
func fromRoot(_ path: String) -> String {
  guard let found = unsafe realpath(path, nil) else {
    let above = parent(of: path)
    guard above != path, let name = path.split(separator: "/").last else { return path }
    let root = fromRoot(above)
    return (root == "/" ? "" : root) + "/" + name
  }
  defer { unsafe free(found) }
  return unsafe String(cString: found)
}

/// Makes the names in a directory durable.
func syncDirectory(_ path: String) throws(StorageError) {
  let code = syncNames(in: path)
  guard code == 0 else { throw .system(action: "sync", path: path, code: code) }
}

/// Copies a small file to a new one, durably.
func copyFile(_ source: String, _ target: String) throws(StorageError) {
  let input = unsafe open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
  guard input >= 0 else { throw .system(action: "open", path: source, code: errno) }
  defer { close(input) }
  unsafe unlink(target)
  let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW
  let output = unsafe open(target, flags, mode_t(0o600))
  guard output >= 0 else { throw .system(action: "create", path: target, code: errno) }
  defer { close(output) }
  var buffer = [UInt8](repeating: 0, count: 1 << 20)
  while true {
    let count = unsafe read(input, &buffer, buffer.count)
    guard count >= 0 else { throw .system(action: "read", path: source, code: errno) }
    if count == 0 { break }
    guard unsafe write(output, buffer, count) == count else {
      throw .system(action: "write", path: target, code: errno)
    }
  }
  guard fsync(output) == 0 else { throw .system(action: "sync", path: target, code: errno) }
}

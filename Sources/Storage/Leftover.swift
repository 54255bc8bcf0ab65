import Glibc

/// A data file without a manifest that an interrupted creation left. It is shorter than asked for
/// when the end came during the allocation, and nothing was ever written to it.
struct Leftover {
  let path: String
  /// What removing it gives back to the file system.
  let allocatedBytes: Int

  /// What is at `path`; nil when nothing is.
  /// - Throws: `.foreign` for anything but a regular file in which there are only zeros.
  init?(at path: String) throws(StorageError) {
    let foreign = StorageError.foreign(
      path: path, reason: "a data file without a manifest; if nobody needs it, remove it")
    // Without waiting for the other end of what may be a pipe.
    let flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK
    let descriptor = unsafe open(path, flags)
    if descriptor < 0 {
      switch errno {
      case ENOENT, ENOTDIR: return nil
      case ELOOP: throw foreign
      default: throw .system(action: "open", path: path, code: errno)
      }
    }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      throw .system(action: "examine", path: path, code: errno)
    }
    guard status.st_mode & S_IFMT == S_IFREG, try Self.isBlank(descriptor, path) else {
      throw foreign
    }
    self.path = path
    allocatedBytes = Int(status.st_blocks) * 512
  }

  func remove() throws(StorageError) {
    guard unsafe unlink(path) == 0 else {
      throw .system(action: "delete", path: path, code: errno)
    }
  }

  /// Whether every byte is zero. What was allocated and never written is skipped, so that this
  /// takes no time for the largest leftover.
  private static func isBlank(_ descriptor: Int32, _ path: String) throws(StorageError) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    var offset = 0
    while true {
      let start = lseek(descriptor, offset, SEEK_DATA)
      if start < 0 {
        // No data from here to the end.
        if errno == ENXIO { return true }
        throw .system(action: "examine", path: path, code: errno)
      }
      let count = unsafe pread(descriptor, &buffer, buffer.count, start)
      if count < 0 {
        if errno == EINTR { continue }
        throw .system(action: "read", path: path, code: errno)
      }
      guard count > 0 else { return true }
      guard buffer[..<count].allSatisfy({ $0 == 0 }) else { return false }
      offset = start + count
    }
  }
}

import Glibc

/// A lock on a store, held by an open file: the end of the process frees it, however it ends.
struct StoreLock: ~Copyable {
  enum Kind { case exclusive, shared }

  private let descriptor: Int32

  /// Takes the lock at `path`, making the file when needed.
  /// - Throws: `.locked` with the writer's process id where the file has one.
  init(_ path: String, _ kind: Kind) throws(StorageError) {
    let flags = (kind == .exclusive ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW
    let descriptor = unsafe open(path, flags, mode_t(0o600))
    guard descriptor >= 0 else {
      switch errno {
      case ELOOP: throw .foreign(path: path, reason: "a symbolic link, not a lock")
      case ENOENT: throw .missing(path: path, what: "the lock")
      default: throw .system(action: "open", path: path, code: errno)
      }
    }
    let operation = (kind == .exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB
    guard Self.flockPatiently(descriptor, operation) == 0 else {
      let code = errno
      let pid = Self.holder(descriptor)
      close(descriptor)
      if code == EWOULDBLOCK { throw .locked(path: path, pid: pid) }
      throw .system(action: "lock", path: path, code: code)
    }
    if kind == .exclusive { Self.sign(descriptor) }
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Tries for half a second: the kernel may still be closing the files of a process that was
  /// killed, and a process that this one is starting holds a copy of every open file until it runs.
  private static func flockPatiently(_ descriptor: Int32, _ operation: Int32) -> Int32 {
    for _ in 0..<50 {
      let result = flock(descriptor, operation)
      if result == 0 || errno != EWOULDBLOCK { return result }
      usleep(10_000)
    }
    return flock(descriptor, operation)
  }

  /// Writes this process's id, for the message that others see; a failure only shortens that
  /// message.
  private static func sign(_ descriptor: Int32) {
    let text = "\(getpid())\n"
    ftruncate(descriptor, 0)
    unsafe _ = pwrite(descriptor, text, text.utf8.count, 0)
  }

  private static func holder(_ descriptor: Int32) -> Int? {
    var bytes = [UInt8](repeating: 0, count: 16)
    let count = unsafe pread(descriptor, &bytes, bytes.count, 0)
    guard count > 0 else { return nil }
    return Int(String(decoding: bytes[..<count].prefix { $0 != 10 }, as: UTF8.self))
  }
}

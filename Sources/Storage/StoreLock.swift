import Glibc

/// The locks of a store, held by an open file: the end of the process frees them, however it ends.
///
/// One process writes. Others read beside it, because a generation that somebody reads is kept:
///
///     flock      held by the writer as long as the store is open
///     manifest   a byte of the file: shared while its rows are read, exclusive while they change
///     pin        another: shared while somebody reads records; the writer frees nothing unless it
///                gets this byte for itself for a moment
final class StoreLock: Sendable {
  enum Kind { case exclusive, shared }
  enum Byte: Int {
    case manifest = 0
    case pin = 1
  }

  let path: String
  private let descriptor: Int32
  /// Reading the rows, or freeing what somebody may read, takes no longer: tries, ten milliseconds
  /// apart.
  private static let patience = 3000

  /// Opens the locks at `path`, making the file when needed. `.exclusive` takes that of the writer,
  /// `.shared` pins the generations that are there, nil takes nothing.
  /// - Throws: `.locked` with the writer's process id where the file has one.
  convenience init(_ path: String, _ kind: Kind?) throws(StorageError) {
    let descriptor = try Self.open(path, kind)
    try self.init(path, descriptor, kind)
    // Whoever erases a store removes the file that others may be waiting for.
    guard Self.isStill(descriptor, at: path) else { throw .locked(path: path, pid: nil) }
  }

  private init(_ path: String, _ descriptor: Int32, _ kind: Kind?) throws(StorageError) {
    self.path = path
    self.descriptor = descriptor
    switch kind {
    case .exclusive:
      guard Self.flockPatiently(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw refusal(errno) }
    case .shared:
      try lock(.pin, .shared)
    case nil:
      break
    }
  }

  private static func open(_ path: String, _ kind: Kind?) throws(StorageError) -> Int32 {
    let writing = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW
    let reading = O_RDONLY | O_CLOEXEC | O_NOFOLLOW
    let flags = kind == .exclusive ? writing : reading
    var descriptor = unsafe Glibc.open(path, flags, mode_t(0o600))
    // A copy of a store may have come without it.
    if descriptor < 0, errno == ENOENT {
      descriptor = unsafe Glibc.open(path, writing, mode_t(0o600))
    }
    if descriptor >= 0 { return descriptor }
    switch errno {
    case ELOOP: throw .foreign(path: path, reason: "a symbolic link, not a lock")
    case ENOENT: throw .missing(path: path, what: "the lock")
    default: throw .system(action: "open", path: path, code: errno)
    }
  }

  /// Whether the file is not one that was removed meanwhile: a lock on that keeps nobody out.
  private static func isStill(_ descriptor: Int32, at path: String) -> Bool {
    var (open, named) = (stat(), stat())
    return unsafe fstat(descriptor, &open) == 0 && lstat(path, &named) == 0
      && open.st_dev == named.st_dev && open.st_ino == named.st_ino
  }

  deinit { close(descriptor) }

  /// Runs `body`, which changes rows of the manifest, while nobody reads them.
  func whileUnread<Result>(
    _ body: () throws(StorageError) -> Result
  ) throws(StorageError) -> Result {
    try lock(.manifest, .exclusive)
    defer { unlock(.manifest) }
    return try body()
  }

  private func refusal(_ code: Int32) -> StorageError {
    guard code == EWOULDBLOCK || code == EACCES else {
      return .system(action: "lock", path: path, code: code)
    }
    return .locked(path: path, pid: Self.holder(descriptor))
  }

  /// Takes one byte, waiting as long as its holders have reason to hold it.
  /// - Throws: `.locked` after that.
  func lock(_ byte: Byte, _ kind: Kind, patience: Int = patience) throws(StorageError) {
    for _ in 0..<patience {
      if tryLock(byte, kind) { return }
      guard errno == EWOULDBLOCK || errno == EACCES || errno == EINTR else { break }
      usleep(10_000)
    }
    throw refusal(errno)
  }

  /// Keeps readers out, for whoever is alone with the store. Waits only as long as a process that
  /// is being started may hold a copy of somebody's lock.
  func keepReadersOut() throws(StorageError) { try lock(.pin, .exclusive, patience: 50) }

  /// Takes one byte if nobody holds it in another way.
  func tryLock(_ byte: Byte, _ kind: Kind) -> Bool {
    set(byte, Int32(kind == .exclusive ? F_WRLCK : F_RDLCK)) == 0
  }

  func unlock(_ byte: Byte) { _ = set(byte, Int32(F_UNLCK)) }

  /// Locks of an open file, not of a process, so that two stores of one process exclude each other
  /// too. F_OFD_SETLK is 37, which glibc's headers give only to some.
  private func set(_ byte: Byte, _ type: Int32) -> Int32 {
    var range = Glibc.flock()
    range.l_type = Int16(type)
    range.l_whence = Int16(SEEK_SET)
    (range.l_start, range.l_len) = (byte.rawValue, 1)
    return unsafe fcntl(descriptor, 37, &range)
  }

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
  func sign() {
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

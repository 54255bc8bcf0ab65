import Base
import CLiburing
import Glibc

/// A file of a disk: what requests and error messages need of it.
package struct OpenFile: Sendable {
  package let descriptor: Int32
  package let path: String
  package let isDirect: Bool
  /// Offsets and lengths are multiples of this.
  package let alignment: Int
  /// Addresses are.
  package let memoryAlignment: Int

  package init(
    descriptor: Int32, path: String, isDirect: Bool, alignment: Int, memoryAlignment: Int
  ) {
    self.descriptor = descriptor
    self.path = path
    self.isDirect = isDirect
    self.alignment = alignment
    self.memoryAlignment = memoryAlignment
  }
}

/// The files that a disk has opened. Owns their descriptors.
struct FileTable: ~Copyable {
  private var files: [OpenFile] = []

  deinit { for file in files { _ = Glibc.close(file.descriptor) } }

  subscript(file: DiskFile) -> OpenFile {
    precondition(files.indices.contains(file.index), "the file was opened by this disk")
    return files[file.index]
  }

  /// - Throws: `DiskError` when the system refuses, when a new file does not fit the device (it is
  ///   removed again), or when a file that should be there is shorter than `byteCount`.
  mutating func open(
    _ path: String, byteCount: Int, _ mode: OpenMode
  ) throws(DiskError) -> DiskFile {
    precondition(byteCount >= 0, "a file has a size")
    let descriptor = try Self.descriptor(path, mode)

    do throws(DiskError) {
      switch mode {
      case .create, .grow:
        try Self.allocate(descriptor, path, byteCount)
        try Self.makeDurable(descriptor, path, byteCount)
      case .scratch: try Self.allocate(descriptor, path, byteCount)
      case .readWrite, .readOnly: try Self.checkSize(descriptor, path, byteCount)
      }
    } catch {
      _ = Glibc.close(descriptor)
      if mode == .create { _ = unsafe unlink(path) }
      throw error
    }

    let direct = Self.bypassCache(descriptor)
    files.append(
      OpenFile(
        descriptor: descriptor, path: path, isDirect: direct != nil,
        alignment: direct?.offset ?? 1, memoryAlignment: direct?.memory ?? 1))
    return DiskFile(index: files.count - 1)
  }

  func syncer(of file: DiskFile) -> @Sendable () -> DiskError? {
    let file = self[file]
    return {
      if retrying({ fdatasync(file.descriptor) }) == 0 { return nil }
      return DiskError(.sync, path: file.path, errno: errno)
    }
  }

  mutating func closeAll() {
    for file in files { _ = Glibc.close(file.descriptor) }
    files = []
  }
}

extension FileTable {
  private static func descriptor(_ path: String, _ mode: OpenMode) throws(DiskError) -> Int32 {
    let flags = O_CLOEXEC | O_NOFOLLOW
    // What a process that was killed between making and unlinking one has left, without bytes.
    if mode == .scratch { _ = unsafe unlink(path) }
    let descriptor = retrying {
      switch mode {
      case .create, .scratch: unsafe Glibc.open(path, flags | O_RDWR | O_CREAT | O_EXCL, 0o600)
      case .readWrite, .grow: unsafe Glibc.open(path, flags | O_RDWR)
      case .readOnly: unsafe Glibc.open(path, flags | O_RDONLY)
      }
    }
    guard descriptor >= 0 else {
      let isNew = mode == .create || mode == .scratch
      throw DiskError(isNew ? .create : .open, path: path, errno: errno)
    }
    if mode == .scratch { _ = unsafe unlink(path) }
    return descriptor
  }

  /// Gives a file its blocks.
  private static func allocate(
    _ descriptor: Int32, _ path: String, _ byteCount: Int
  ) throws(DiskError) {
    try checkRoom(descriptor, path, byteCount)
    var code: Int32 = 0
    if byteCount > 0 {
      // Answers with the errno itself; EINTR is possible for large files.
      repeat { code = posix_fallocate(descriptor, 0, byteCount) } while code == EINTR
    }
    guard code == 0 else {
      throw DiskError(.create, path: path, length: byteCount, errno: code)
    }
  }

  /// Makes a file with its blocks, and its name, durable: a crash later may tear what is in the file
  /// but not lose the file.
  private static func makeDurable(
    _ descriptor: Int32, _ path: String, _ byteCount: Int
  ) throws(DiskError) {
    var code = retrying({ fsync(descriptor) }) == 0 ? 0 : errno
    if code == 0 { code = syncNames(in: parent(of: path)) }
    guard code == 0 else {
      throw DiskError(.create, path: path, length: byteCount, errno: code)
    }
  }

  /// Asked before, since allocating more than there is takes all there is from everyone for a
  /// while.
  private static func checkRoom(
    _ descriptor: Int32, _ path: String, _ byteCount: Int
  ) throws(DiskError) {
    var status = statvfs()
    // A file system without a size, such as a tmpfs without limit, has no blocks to count.
    guard unsafe fstatvfs(descriptor, &status) == 0, status.f_blocks > 0 else { return }
    let free = Int(status.f_bavail) * Int(status.f_frsize)
    var present = stat()
    let has = unsafe fstat(descriptor, &present) == 0 ? Int(present.st_blocks) * 512 : 0
    let needed = byteCount - has
    guard needed > free else { return }
    throw DiskError(
      .create, path: path, length: byteCount, code: ENOSPC,
      remedy: "\(ByteCount(free)) are free on the device where \(ByteCount(needed)) are needed; "
        + "free some, or give a path with more room")
  }

  private static func checkSize(
    _ descriptor: Int32, _ path: String, _ byteCount: Int
  ) throws(DiskError) {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      throw DiskError(.open, path: path, errno: errno)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw DiskError(.open, path: path, code: 0, remedy: "it is not a regular file; give a file")
    }
    guard status.st_size >= byteCount else {
      throw DiskError(
        .open, path: path, code: 0,
        remedy: "the file has \(status.st_size) bytes where \(byteCount) are needed: it was cut or "
          + "belongs to something else; restore it from a copy or start afresh")
    }
  }

  /// Switches the page cache off where the file system can do that, and says what it then asks for;
  /// nil where it cannot.
  ///
  /// Done after opening: `open` with O_CREAT and O_DIRECT on a file system without O_DIRECT fails
  /// and may leave the new file behind.
  private static func bypassCache(_ descriptor: Int32) -> DirectAlignment? {
    var system = statfs()
    let isKnown = unsafe fstatfs(descriptor, &system) == 0
    let alignment = DirectAlignment(
      fileSystem: isKnown ? Int(system.f_type) : 0, said: saidAlignment(descriptor))
    guard let alignment else { return nil }
    let flags = fcntl(descriptor, F_GETFL)
    guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_DIRECT) == 0 else { return nil }
    return alignment
  }

  /// What the kernel says that direct transfers of a file must be multiples of; nil where it does
  /// not say.
  private static func saidAlignment(_ descriptor: Int32) -> (offset: Int, memory: Int)? {
    var facts = statx()
    let asked = unsafe statx(descriptor, "", AT_EMPTY_PATH, UInt32(STATX_DIOALIGN), &facts)
    guard asked == 0, facts.stx_mask & UInt32(STATX_DIOALIGN) != 0 else { return nil }
    return (Int(facts.stx_dio_offset_align), Int(facts.stx_dio_mem_align))
  }
}

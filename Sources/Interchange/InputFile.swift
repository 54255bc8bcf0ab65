import Glibc

/// All bytes of a file; nil when there is none.
/// - Throws: for a symbolic link unless it is followed, for what is no regular file, and for more than
///   `byteCountMax` bytes.
package func smallFile(
  _ path: String, byteCountMax: Int, followsLinks: Bool
) throws(InterchangeError) -> [UInt8]? {
  do throws(InterchangeError) {
    return try InputFile(path, followsLinks: followsLinks).contents(byteCountMax: byteCountMax)
  } catch .missing {
    return nil
  }
}

/// A regular file open for reading at offsets, by any number of threads.
final class InputFile: Sendable {
  let path: String
  let byteCount: Int
  private let descriptor: Int32

  /// - Parameter followsLinks: whether `path` may be a symbolic link.
  init(_ path: String, followsLinks: Bool = true) throws(InterchangeError) {
    // Without O_NONBLOCK a pipe of that name would wait for someone to write.
    let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | (followsLinks ? 0 : O_NOFOLLOW)
    let descriptor = unsafe open(path, flags)
    guard descriptor >= 0 else {
      switch errno {
      case ENOENT: throw .missing(path: path, what: "the file")
      case ELOOP where !followsLinks:
        throw .unsupported(
          path: path, offset: 0, cause: "a symbolic link",
          remedy: "import with --follow-links, or copy the directory with `cp -rL`")
      default: throw .system(action: "open", path: path, offset: 0, code: errno)
      }
    }
    var status = stat()
    let isExamined = unsafe fstat(descriptor, &status) == 0
    guard isExamined, status.st_mode & S_IFMT == S_IFREG else {
      let code = errno
      close(descriptor)
      if isExamined { throw .malformed(path: path, offset: 0, cause: "not a regular file") }
      throw .system(action: "examine", path: path, offset: 0, code: code)
    }
    self.path = path
    self.descriptor = descriptor
    byteCount = Int(status.st_size)
  }

  deinit { close(descriptor) }

  /// Fills `target` with what lies at `offset`.
  func read(at offset: Int, into target: inout MutableRawSpan) throws(InterchangeError) {
    let failure = unsafe target.withUnsafeMutableBytes { unsafe read(at: offset, into: $0) }
    if let failure { throw failure }
  }

  /// The bytes of a range, which the caller knows to be small.
  func bytes(_ range: Range<Int>) throws(InterchangeError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    let failure = unsafe bytes.withUnsafeMutableBytes {
      unsafe read(at: range.lowerBound, into: $0)
    }
    if let failure { throw failure }
    return bytes
  }

  /// All bytes.
  func contents(byteCountMax: Int) throws(InterchangeError) -> [UInt8] {
    guard byteCount <= byteCountMax else {
      throw .malformed(
        path: path, offset: byteCountMax, cause: "\(byteCount) bytes, more than \(byteCountMax)")
    }
    return try bytes(0..<byteCount)
  }

  /// What `defect` at the start of the file comes from, if that is something other than damage.
  func explaining(_ defect: FormatDefect) throws(InterchangeError) -> InterchangeError {
    let pointer = Array("version https://git-lfs".utf8)
    guard byteCount >= pointer.count, try bytes(0..<pointer.count) == pointer else {
      return InterchangeError(defect, path)
    }
    return .unsupported(
      path: path, offset: 0, cause: "a pointer of Git LFS, not the file itself",
      remedy: "run `git lfs pull` in its directory")
  }

  private func read(
    at offset: Int, into buffer: UnsafeMutableRawBufferPointer
  ) -> InterchangeError? {
    var done = 0
    while done < buffer.count {
      let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
      let count = unsafe pread(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
      if count > 0 {
        done += count
      } else if count == 0 {
        return .malformed(path: path, offset: offset + done, cause: "the file became shorter")
      } else if errno != EINTR {
        return .system(action: "read", path: path, offset: offset + done, code: errno)
      }
    }
    return nil
  }
}

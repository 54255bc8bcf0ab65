import Base
import DirectIO
import Glibc

/// The file of a timeline. It grows under the name `FILE.partial`, whole between two writes, and takes
/// its own name, and the place of what had that name, when it is finished.
final class TraceFile {
  let path: String
  private let partial: String
  private let descriptor: Int32
  /// Where further bytes go: behind what stays, over the ending.
  private var end = 0

  /// - Throws: `DiskError` when the file could not take its name, or not be written.
  init(_ path: String) throws(DiskError) {
    let partial = path + ".partial"
    var found = stat()
    // What is no file, such as /dev/stdout, is not to be replaced by one.
    if unsafe stat(path, &found) == 0, found.st_mode & S_IFMT != S_IFREG {
      throw DiskError(
        .create, path: path, code: EEXIST,
        remedy: "there is something that is not a regular file; give another path")
    }
    let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW
    let descriptor = retrying { unsafe open(partial, flags, 0o600) }
    guard descriptor >= 0 else { throw DiskError(.create, path: path, errno: errno) }
    (self.path, self.partial, self.descriptor) = (path, partial, descriptor)
  }

  /// A file without a byte was only a try.
  deinit {
    if end == 0 { unsafe _ = unlink(partial) }
    _ = close(descriptor)
  }

  /// Adds what stays.
  func append(_ bytes: [UInt8]) throws(DiskError) {
    try write(bytes, at: end)
    end += bytes.count
  }

  /// Makes the file whole, until more is added.
  func write(ending bytes: [UInt8]) throws(DiskError) { try write(bytes, at: end) }

  /// Gives the file its name.
  func finish() throws(DiskError) {
    guard unsafe rename(partial, path) == 0 else {
      throw DiskError(.create, path: path, errno: errno)
    }
  }

  private func write(_ bytes: [UInt8], at offset: Int) throws(DiskError) {
    var done = 0
    while done < bytes.count {
      let count = unsafe bytes.withUnsafeBytes {
        unsafe pwrite(descriptor, $0.baseAddress! + done, bytes.count - done, offset + done)
      }
      guard count >= 0 || errno == EINTR else {
        throw DiskError(
          .write, path: partial, offset: offset + done, length: bytes.count - done, errno: errno)
      }
      done += max(0, count)
    }
  }
}

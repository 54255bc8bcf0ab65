import Glibc

/// A safetensors file open for reading. Only its header is in memory; tensors are read by the piece.
package final class SafetensorsFile {
  package let path: String
  package let header: SafetensorsHeader
  private let descriptor: Int32

  /// Opens `path` and checks its header.
  package init(_ path: String) throws(InterchangeError) {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      if errno == ENOENT { throw .missing(path: path, what: "the file") }
      throw .system(action: "open", path: path, offset: 0, code: errno)
    }
    do throws(InterchangeError) {
      header = try Self.readHeader(descriptor, path)
    } catch {
      close(descriptor)
      throw error
    }
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Fills `target` with the bytes of `entry` from `offset` on.
  package func read(
    _ entry: SafetensorsHeader.Entry, from offset: Int, into target: inout MutableRawSpan
  ) throws(InterchangeError) {
    precondition(offset >= 0, "a piece starts inside its tensor")
    precondition(target.byteCount <= entry.bytes.count - offset, "a piece ends inside its tensor")
    let path = path
    let failure = unsafe target.withUnsafeMutableBytes { buffer in
      unsafe Self.read(descriptor, path, at: entry.bytes.lowerBound + offset, into: buffer)
    }
    if let failure { throw failure }
  }

  private static func readHeader(
    _ descriptor: Int32, _ path: String
  ) throws(InterchangeError) -> SafetensorsHeader {
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0 else {
      throw .system(action: "examine", path: path, offset: 0, code: errno)
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw .malformed(path: path, offset: 0, cause: "not a regular file")
    }
    let fileBytes = Int(status.st_size)
    let prefix = try bytes(
      min(SafetensorsHeader.prefixByteCount, fileBytes), of: descriptor, path)
    do {
      let byteCount = try SafetensorsHeader.byteCount(start: prefix, fileBytes: fileBytes)
      return try SafetensorsHeader(
        start: try bytes(byteCount, of: descriptor, path), fileBytes: fileBytes)
    } catch let defect as SafetensorsHeader.Defect {
      throw .malformed(path: path, offset: defect.offset, cause: defect.cause)
    } catch let error as InterchangeError {
      throw error
    } catch {
      preconditionFailure("no other error is thrown: \(error)")
    }
  }

  /// The first `count` bytes.
  private static func bytes(
    _ count: Int, of descriptor: Int32, _ path: String
  ) throws(InterchangeError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    let failure = unsafe bytes.withUnsafeMutableBytes {
      unsafe read(descriptor, path, at: 0, into: $0)
    }
    if let failure { throw failure }
    return bytes
  }

  private static func read(
    _ descriptor: Int32, _ path: String, at offset: Int, into buffer: UnsafeMutableRawBufferPointer
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

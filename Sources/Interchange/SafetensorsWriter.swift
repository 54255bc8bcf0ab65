import Glibc

/// Writes tensors by the piece, in any order, into files whose headers are known beforehand; nothing
/// but the piece at hand is in memory. Each file is opened at its first byte and synced and closed
/// at its last.
package final class SafetensorsWriter {
  private let directory: String
  private let layout: SafetensorsShards
  private var open: [Int: Int32] = [:]
  /// Bytes of tensors that each file still lacks.
  private var missing: [Int]

  /// - Parameter directory: an empty one, in which the files are made.
  package init(_ layout: SafetensorsShards, in directory: String) throws(InterchangeError) {
    self.directory = directory
    self.layout = layout
    missing = layout.shards.map { $0.byteCount - $0.header.count }
  }

  deinit { for descriptor in open.values { close(descriptor) } }

  /// Writes `bytes` into the tensor `name`, from `offset` on. Every byte of a tensor is written
  /// once.
  package func write(
    _ bytes: RawSpan, to name: String, at offset: Int
  ) throws(InterchangeError) {
    guard let place = layout.places[name] else { preconditionFailure("no tensor \(name)") }
    precondition(offset >= 0, "a piece starts inside its tensor")
    precondition(bytes.byteCount <= place.bytes.count - offset, "a piece ends inside its tensor")
    let descriptor = try file(place.shard)
    try Self.write(bytes, descriptor, path(place.shard), at: place.bytes.lowerBound + offset)
    missing[place.shard] -= bytes.byteCount
    precondition(missing[place.shard] >= 0, "every byte is written once")
    if missing[place.shard] == 0 { try finish(place.shard) }
  }

  /// Writes the index, if there is to be one. All tensors are whole by now.
  package func finish() throws(InterchangeError) {
    precondition(missing.allSatisfy { $0 == 0 }, "every tensor is whole")
    guard let index = layout.index else { return }
    try writeSynced(Array(index.text.utf8), to: "\(directory)/\(index.name)")
  }

  private func path(_ shard: Int) -> String { "\(directory)/\(layout.shards[shard].name)" }

  private func file(_ shard: Int) throws(InterchangeError) -> Int32 {
    if let descriptor = open[shard] { return descriptor }
    let descriptor = try create(path(shard))
    open[shard] = descriptor
    let header = layout.shards[shard].header
    try unsafe Self.write(header.span.bytes, descriptor, path(shard), at: 0)
    return descriptor
  }

  private func finish(_ shard: Int) throws(InterchangeError) {
    guard let descriptor = open.removeValue(forKey: shard) else {
      preconditionFailure("a file being written is open")
    }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else {
      throw .system(action: "sync", path: path(shard), offset: 0, code: errno)
    }
  }

  fileprivate static func write(
    _ bytes: RawSpan, _ descriptor: Int32, _ path: String, at offset: Int
  ) throws(InterchangeError) {
    let failure: InterchangeError? = unsafe bytes.withUnsafeBytes { buffer in
      var done = 0
      while done < buffer.count {
        let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[done...])
        let count = unsafe pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
        if count >= 0 {
          done += count
        } else if errno != EINTR {
          return .system(action: "write", path: path, offset: offset + done, code: errno)
        }
      }
      return nil
    }
    if let failure { throw failure }
  }
}

/// Makes the file `path`, which is not there yet, and has it on the disk when this returns.
package func writeSynced(_ bytes: [UInt8], to path: String) throws(InterchangeError) {
  let descriptor = try create(path)
  defer { close(descriptor) }
  try unsafe SafetensorsWriter.write(bytes.span.bytes, descriptor, path, at: 0)
  guard fsync(descriptor) == 0 else {
    throw .system(action: "sync", path: path, offset: 0, code: errno)
  }
}

private func create(_ path: String) throws(InterchangeError) -> Int32 {
  let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode_t(0o644))
  guard descriptor >= 0 else {
    throw .system(action: "create", path: path, offset: 0, code: errno)
  }
  return descriptor
}

import Base
import Glibc

/// A digest of the bytes of the manifest's file, beside it: rows have digests of their own, but
/// damage between them is only found this way.
///
///     <seal> <bytes> <XXH3-64 of the file> <XXH3-64 of this line up to here>
///
/// Valid for the file with that seal; a crash may leave none, or an older one, which says nothing.
struct ManifestDigest {
  static let name = "manifest.digest"

  enum Finding: Equatable {
    case whole
    /// There is no digest, or one of another state.
    case unknown
    /// Of the digest itself; what it was made of may be whole.
    case digestDamaged(path: String)
    case fileDamaged
  }

  /// Compares the manifest's file at `path`, whose seal is `seal`.
  static func compare(_ path: String, seal: RowDigest) -> Finding {
    let place = parent(of: path) + "/" + name
    let line: String
    switch read(place) {
    case .missing: return .unknown
    case .unreadable: return .digestDamaged(path: place)
    case .text(let text): line = text
    }
    let words = line.split(separator: " ", omittingEmptySubsequences: false)
    guard words.count == 4, line.hasSuffix("\n"),
      words[3] == hex(checksum(of: words[..<3].joined(separator: " "))) + "\n"
    else { return .digestDamaged(path: place) }
    guard words[0] == hex(seal.value) else { return .unknown }
    guard let found = digest(of: path), words[1] == "\(found.bytes)", words[2] == hex(found.value)
    else { return .fileDamaged }
    return .whole
  }

  /// Writes the digest of the file as it is. Without effect where that fails: then damage between
  /// rows is not noticed until the next time.
  static func write(_ path: String, seal: RowDigest) {
    guard let found = digest(of: path) else { return }
    let content = "\(hex(seal.value)) \(found.bytes) \(hex(found.value))"
    let line = content + " \(hex(checksum(of: content)))\n"
    let target = parent(of: path) + "/" + name
    let draft = target + ".new"
    unsafe unlink(draft)
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
    let descriptor = unsafe open(draft, flags, mode_t(0o600))
    guard descriptor >= 0 else { return }
    defer { close(descriptor) }
    // Durable before it has its name: a file that is empty or short was damaged.
    guard unsafe Glibc.write(descriptor, line, line.utf8.count) == line.utf8.count,
      fsync(descriptor) == 0
    else { return }
    unsafe rename(draft, target)
  }

  /// Removes the digest for good, before the file changes and its seal does not.
  static func remove(_ path: String) throws(StorageError) {
    try Store.remove([name], from: parent(of: path))
  }

  private enum Text {
    case missing
    case unreadable
    case text(String)
  }

  private static func read(_ path: String) -> Text {
    let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { return errno == ENOENT ? .missing : .unreadable }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = unsafe Glibc.read(descriptor, &bytes, bytes.count)
    return count < 0 ? .unreadable : .text(String(decoding: bytes[..<count], as: UTF8.self))
  }

  private static func digest(of path: String) -> (bytes: Int, value: UInt64)? {
    let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var stream = ChecksumStream()
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    var bytes = 0
    while true {
      let count = unsafe Glibc.read(descriptor, &buffer, buffer.count)
      if count < 0 { return nil }
      if count == 0 { return (bytes, stream.value) }
      bytes += count
      stream.add(buffer[..<count])
    }
  }
}

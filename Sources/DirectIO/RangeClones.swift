import CLiburing
import Glibc

/// Lets ranges of two files share their bytes on the drive until one of them is written: on btrfs, and on
/// XFS with reflinks.
package struct RangeClones: ~Copyable {
  /// Descriptors of files that are open for it, by how and path.
  private var descriptors: [String: CInt] = [:]
  /// Pairs of files that cannot share.
  private var refused: Set<[String]> = []

  package init() {}

  deinit { for descriptor in descriptors.values { close(descriptor) } }

  /// - Parameters:
  ///   - source, target: in whole blocks of the file system; both files exist.
  /// - Returns: whether the target has the bytes of the source now, without a copy.
  package mutating func share(
    _ source: (path: String, offset: Int), with target: (path: String, offset: Int), byteCount: Int
  ) -> Bool {
    let pair = [source.path, target.path]
    guard !refused.contains(pair) else { return false }
    if let from = descriptor(source.path, O_RDONLY), let to = descriptor(target.path, O_WRONLY) {
      var range = file_clone_range(
        src_fd: Int64(from), src_offset: UInt64(source.offset), src_length: UInt64(byteCount),
        dest_offset: UInt64(target.offset))
      if unsafe pagoda_clone_range(to, &range) == 0 { return true }
    }
    refused.insert(pair)
    return false
  }

  private mutating func descriptor(_ path: String, _ mode: CInt) -> CInt? {
    let key = "\(mode) \(path)"
    if let descriptor = descriptors[key] { return descriptor }
    let descriptor = unsafe open(path, mode | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    descriptors[key] = descriptor
    return descriptor
  }
}

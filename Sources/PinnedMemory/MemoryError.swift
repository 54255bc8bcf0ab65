package import Base

/// Memory that a pool could not have, with what to change.
package enum MemoryError: Error, Sendable, CustomStringConvertible {
  /// The ceiling of `--memory` does not allow it.
  case refused(MemoryRefusal)
  /// The kernel refused the mapping: errno `code`.
  case mapping(name: String, bytes: Int, code: Int32)
  /// A pool too small to page at all.
  case tooFewFrames(pool: String, frames: Int, minimum: Int, frameBytes: Int)

  package var description: String {
    switch self {
    case .refused(let refusal):
      return "\(refusal): raise --memory"
    case .mapping(let name, let bytes, let code):
      return "\(name): the kernel refused to map \(ByteCount(bytes)) (errno \(code)): "
        + "lower --memory or free memory on this machine"
    case .tooFewFrames(let pool, let frames, let minimum, let frameBytes):
      let missing = (minimum - frames) * frameBytes
      return "\(pool): \(frames) frames of \(ByteCount(frameBytes)) are too few to page, "
        + "\(minimum) are needed: raise --memory by \(ByteCount(missing)) "
        + "or lower storage.block_bytes"
    }
  }
}

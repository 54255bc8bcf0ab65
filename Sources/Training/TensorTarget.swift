import Interchange
import Kernels

/// The files that are being written, by stem.
struct TensorTarget {
  let writers: [String: SafetensorsWriter]
  /// Of elements in the files.
  let type: ElementType
  private(set) var written = 0

  init(writers: [String: SafetensorsWriter], type: ElementType) {
    (self.writers, self.type) = (writers, type)
  }

  /// Floats that are rounded at a time.
  private static let roundedAtOnce = 1 << 16

  /// Some floats of `buffer` as those of the tensor `name` from its element number `offset` on.
  mutating func write(
    _ buffer: FloatBuffer, _ range: Range<Int>, to name: String, _ state: ParameterState,
    at offset: Int
  ) throws(InterchangeError) {
    guard let writer = writers[state.stem] else { preconditionFailure("a writer for each stem") }
    let name = name + state.suffix
    guard type == .bf16 else {
      let floats = buffer.span.extracting(range)
      try unsafe writer.write(floats.bytes, to: name, at: offset * type.byteCount)
      written += range.count * type.byteCount
      return
    }
    for first in stride(from: range.lowerBound, to: range.upperBound, by: Self.roundedAtOnce) {
      let piece = first..<min(first + Self.roundedAtOnce, range.upperBound)
      let floats = buffer.span
      let rounded = piece.map { roundedToBfloat16(floats[$0]).littleEndian }
      let place = offset + first - range.lowerBound
      try unsafe writer.write(rounded.span.bytes, to: name, at: place * type.byteCount)
      written += piece.count * type.byteCount
    }
  }
}

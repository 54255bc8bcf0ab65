/// A safetensors file open for reading. Only its header is in memory; tensors are read by the piece.
package final class SafetensorsFile: Sendable {
  package var path: String { file.path }
  package let header: SafetensorsHeader
  let file: InputFile

  /// Opens `path` and checks its header.
  package convenience init(_ path: String) throws(InterchangeError) {
    try self.init(InputFile(path))
  }

  init(_ file: InputFile) throws(InterchangeError) {
    let prefix = try file.bytes(0..<min(SafetensorsHeader.prefixByteCount, file.byteCount))
    let byteCount: Int
    do throws(FormatDefect) {
      byteCount = try SafetensorsHeader.byteCount(start: prefix, fileBytes: file.byteCount)
    } catch {
      throw try file.explaining(error)
    }
    let start = try file.bytes(0..<byteCount)
    do throws(FormatDefect) {
      header = try SafetensorsHeader(start: start, fileBytes: file.byteCount)
    } catch {
      throw InterchangeError(error, file.path)
    }
    self.file = file
  }

  /// Fills `target` with the bytes of `entry` from `offset` on.
  package func read(
    _ entry: SafetensorsHeader.Entry, from offset: Int, into target: inout MutableRawSpan
  ) throws(InterchangeError) {
    precondition(offset >= 0, "a piece starts inside its tensor")
    precondition(target.byteCount <= entry.bytes.count - offset, "a piece ends inside its tensor")
    try file.read(at: entry.bytes.lowerBound + offset, into: &target)
  }
}

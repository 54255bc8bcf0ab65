import Foundation
import Storage

/// A file of one JSON object a line, that can be cut back to a step when a run resumes.
package struct JSONLines<Line: Codable> {
  private let path: String
  private let handle: FileHandle
  private let encoder = JSONEncoder()

  /// Opens `path` for appending, keeping its lines up to `step`, as they are, whatever else is in
  /// them: a program before this one may have known other keys. A last line that a crash cut short,
  /// or any line that does not read, ends what is kept.
  package init(path: String, upTo step: Int) throws {
    let kept = Self.parse(path, as: Numbered.self).prefix { $0.line.step <= step }
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    self.path = path
    handle = try writing(path) {
      let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, mode_t(0o600))
      guard descriptor >= 0 else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
      let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
      try handle.truncate(atOffset: UInt64(kept.last?.end ?? 0))
      return handle
    }
    try handle.seekToEnd()
  }

  /// Makes the lines durable, on any thread; the file is open as long as somebody has this.
  var syncer: @Sendable () throws(StorageError) -> Void { Training.syncer(of: handle, path) }

  package func append(_ line: Line) throws {
    try writing(path) { try handle.write(contentsOf: encoder.encode(line) + Data("\n".utf8)) }
  }

  /// The lines of `path` up to the first that does not read; none when there is no file.
  package static func read(_ path: String) -> [Line] { parse(path, as: Line.self).map(\.line) }

  /// What every line has.
  private struct Numbered: Decodable { let step: Int }

  /// Whole lines, each with the offset behind it.
  private static func parse<Form: Decodable>(
    _ path: String, as form: Form.Type
  ) -> [(line: Form, end: Int)] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    var lines: [(line: Form, end: Int)] = []
    let decoder = JSONDecoder()
    var start = data.startIndex
    while let end = data[start...].firstIndex(of: UInt8(ascii: "\n")),
      let line = try? decoder.decode(form, from: data[start..<end])
    {
      start = end + 1
      lines.append((line, start))
    }
    return lines
  }
}

/// Makes what was written through `handle` durable.
func syncer(
  of handle: FileHandle, _ path: String
) -> @Sendable () throws(StorageError) -> Void {
  { () throws(StorageError) in
    guard fdatasync(handle.fileDescriptor) == 0 else {
      throw .system(action: "sync", path: path, code: errno)
    }
  }
}

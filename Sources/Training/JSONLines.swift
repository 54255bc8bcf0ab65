import Foundation

/// A file of one JSON object a line, that can be cut back to a step when a run resumes.
package struct JSONLines<Line: Codable> {
  private let path: String
  private let handle: FileHandle
  private let encoder = JSONEncoder()

  /// Opens `path` for appending, keeping the lines for which `keep` holds. A last line that a crash
  /// cut short, or any line that does not read, ends what is kept.
  package init(path: String, keeping keep: (Line) -> Bool) throws {
    let kept = Self.read(path).prefix(while: keep)
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    var data = Data()
    for line in kept { data += try encoder.encode(line) + Data("\n".utf8) }
    let url = URL(fileURLWithPath: path)
    self.path = path
    handle = try writing(path) {
      try data.write(to: url, options: .atomic)
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
      return try FileHandle(forWritingTo: url)
    }
    try handle.seekToEnd()
  }

  package func append(_ line: Line) throws {
    try writing(path) { try handle.write(contentsOf: encoder.encode(line) + Data("\n".utf8)) }
  }

  /// The lines of `path` up to the first that does not read; none when there is no file.
  package static func read(_ path: String) -> [Line] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    var lines: [Line] = []
    let decoder = JSONDecoder()
    for text in data.split(separator: UInt8(ascii: "\n")) {
      guard let line = try? decoder.decode(Line.self, from: text) else { break }
      lines.append(line)
    }
    return lines
  }
}

import Foundation

/// The lines of a file, read a megabyte at a time: a file of any size takes the memory of its
/// longest line. Ends of lines are `\n` or `\r\n`; a byte order mark is no text.
struct TextLines {
  let path: String
  /// Of the line that came last, from 1.
  private(set) var number = 0
  private let file: FileHandle
  private var buffer: [UInt8] = []
  private var start = 0
  private var isAtEnd = false

  static let chunkBytes = 1 << 20
  /// Longest line that is read, in bytes.
  static let lineBytesMax = 64 << 20
  private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

  init(path: String) throws(CorpusError) {
    do {
      file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
    } catch {
      throw .unreadable(path: path, cause: error.localizedDescription)
    }
    self.path = path
  }

  /// Bytes of the file at `path`.
  static func byteCount(of path: String) throws(CorpusError) -> Int {
    do {
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      guard attributes[.type] as? FileAttributeType != .typeDirectory else {
        throw CorpusError.unreadable(path: path, cause: "it is a directory; name one file")
      }
      return (attributes[.size] as? NSNumber)?.intValue ?? 0
    } catch let error as CorpusError {
      throw error
    } catch {
      throw .unreadable(path: path, cause: error.localizedDescription)
    }
  }

  /// The next line without its end; nil after the last.
  mutating func next() throws(CorpusError) -> [UInt8]? {
    var scanned = start
    while true {
      if let end = buffer[scanned...].firstIndex(of: UInt8(ascii: "\n")) {
        defer { start = end + 1 }
        return line(start..<end)
      }
      guard !isAtEnd else {
        defer { start = buffer.count }
        return start < buffer.count ? line(start..<buffer.count) : nil
      }
      buffer.removeSubrange(..<start)
      start = 0
      scanned = buffer.count
      try fill()
    }
  }

  private mutating func fill() throws(CorpusError) {
    guard buffer.count < Self.lineBytesMax else {
      throw .badLine(
        path: path, line: number + 1, cause: "more than \(Self.lineBytesMax) bytes",
        remedy: "write one example a line, and long texts as several")
    }
    do {
      let chunk = try file.read(upToCount: Self.chunkBytes) ?? Data()
      isAtEnd = chunk.isEmpty
      buffer += chunk
    } catch {
      throw .unreadable(path: path, cause: error.localizedDescription)
    }
  }

  private mutating func line(_ range: Range<Int>) -> [UInt8] {
    var line = buffer[range]
    number += 1
    if number == 1, line.starts(with: Self.byteOrderMark) { line = line.dropFirst(3) }
    if line.last == UInt8(ascii: "\r") { line = line.dropLast() }
    return Array(line)
  }
}

/// What is wrong with one line, and what to do; who reads the lines adds the file and the number.
struct LineDefect: Error, Equatable {
  let cause: String
  let remedy: String
}

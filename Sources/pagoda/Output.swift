import ArgumentParser
import Foundation

/// Where words go: results to stdout, everything else to stderr.
enum Output {
  static let isTerminal = isatty(STDERR_FILENO) == 1
  private static let wantsColour = ProcessInfo.processInfo.environment["NO_COLOR"] == nil
  private static let colours = isTerminal && wantsColour
  /// Whether what goes to stdout may be coloured.
  static let resultsHaveColour = isatty(STDOUT_FILENO) == 1 && wantsColour

  static func say(_ line: String) {
    FileHandle.standardError.write(Data((line + "\n").utf8))
  }

  static func result(_ line: String) {
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
  }

  /// The one JSON object of a command called with `--json`.
  static func json(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    result(String(decoding: try encoder.encode(value), as: UTF8.self))
  }

  static func red(_ text: String) -> String { colours ? "\u{1B}[31m\(text)\u{1B}[0m" : text }
}

/// A line that rewrites itself on a terminal; elsewhere every tenth or so is a line of its own.
struct ProgressLine {
  private var shown = false
  private var last = ContinuousClock.now

  mutating func show(_ text: String, always: Bool = false) {
    if Output.isTerminal {
      FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8))
      shown = true
    } else if always || ContinuousClock.now - last > .seconds(10) {
      Output.say(text)
      last = .now
    }
  }

  /// Ends the line so that other output starts on its own.
  mutating func finish() {
    if shown { FileHandle.standardError.write(Data("\n".utf8)) }
    shown = false
  }
}

/// Rows of text in columns as wide as their widest cell; the first column left, the others right.
func table(_ rows: [[String]]) -> [String] {
  let columns = rows.map(\.count).max() ?? 0
  let widths = (0..<columns).map { column in
    rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
  }
  return rows.map { row in
    row.enumerated().map { column, cell in
      let padding = String(repeating: " ", count: widths[column] - cell.count)
      return column == 0 ? cell + padding : padding + cell
    }.joined(separator: "  ")
  }
}

import Glibc

// Small readers of what the kernel says in text.

/// The whole text of a file of /proc or /sys; nil when it cannot be read.
package func text(of path: String) -> String? {
  let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { _ = close(descriptor) }
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = unsafe read(descriptor, &chunk, chunk.count)
    if count < 0 { return nil }
    if count == 0 { return String(decoding: bytes, as: UTF8.self) }
    bytes += chunk[..<count]
  }
}

package func firstLine(of path: String) -> String? {
  text(of: path)?.split(separator: "\n", omittingEmptySubsequences: false).first.map(trimmed)
}

package func trimmed(_ text: Substring) -> String {
  let isBlank = { (character: Character) in character.isWhitespace }
  let start = text.drop(while: isBlank)
  guard let last = start.lastIndex(where: { !$0.isWhitespace }) else { return "" }
  return String(start[...last])
}

/// The path with links followed; the path itself where there is nothing.
package func absolute(_ path: String) -> String {
  guard let resolved = unsafe realpath(path, nil) else { return path }
  defer { unsafe free(resolved) }
  return unsafe String(cString: resolved)
}

/// Lines of `Name:   123 kB` as bytes, lines without a unit as counts. Of a process there is a tab before
/// the number, and from eight digits on nothing else.
package func meminfo(_ text: String) -> [String: Int] {
  var values: [String: Int] = [:]
  for line in text.split(separator: "\n") {
    let words = line.split(whereSeparator: { " \t:".contains($0) })
    guard words.count >= 2, let value = Int(words[1]) else { continue }
    values[String(words[0])] = words.count > 2 && words[2] == "kB" ? value * 1024 : value
  }
  return values
}

/// The same of a memory node, whose lines begin with `Node 0 `, which is not part of the name.
package func nodeMeminfo(_ text: String) -> [String: Int] {
  let lines = text.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 2).last ?? "" }
  return meminfo(lines.joined(separator: "\n"))
}

/// The numbers of a list as the kernel writes it: `0-3,8` is 0, 1, 2, 3, 8.
package func integerList(_ text: String) -> [Int] {
  text.split(separator: ",").flatMap { part -> [Int] in
    let ends = part.split(separator: "-").compactMap { Int($0) }
    guard let first = ends.first, let last = ends.last, first <= last else { return [] }
    return Array(first...last)
  }
}

/// The word in brackets: `always [madvise] never` is `madvise`.
package func chosen(_ text: String) -> String {
  guard let open = text.firstIndex(of: "["), let close = text.firstIndex(of: "]"), open < close
  else { return text }
  return String(text[text.index(after: open)..<close])
}

import Tokenizers

/// How a text file holds its examples. In JSON every line is an object:
///
///     pairs-jsonl   {"source": …, "target": …, "source_lang": …, "target_lang": …}, the languages
///                   optional; or {"translation": {"de": …, "en": …}}, with languages given
///     pairs-tsv     source TAB target [TAB source language TAB target language]; a first line of
///                   names (source, target, source_lang, target_lang, or the languages given)
///                   tells another order of columns
///     text          a document a line
///     text-jsonl    {"text": …}
///     chat-jsonl    {"messages": [{"role": …, "content": …}, …]}, or
///                   {"conversations": [{"from": …, "value": …}, …]}
///
/// Other members of an object are left alone. Lines of white space are skipped.
package enum TextFormat: String, CaseIterable, Codable, Sendable {
  case pairsJSONL = "pairs-jsonl"
  case pairsTSV = "pairs-tsv"
  case lines = "text"
  case textJSONL = "text-jsonl"
  case chatJSONL = "chat-jsonl"

  /// The format of the file at `path`: by the ending of its name, and of JSON by the members of the
  /// first object; without a known ending by the first line that is not blank.
  package static func detect(path: String) throws(CorpusError) -> TextFormat {
    let name = path.split(separator: "/").last ?? ""
    let ending = name.split(separator: ".").dropFirst().last?.lowercased()
    switch ending {
    case "tsv": return .pairsTSV
    case "txt": return .lines
    default: break
    }
    var lines = try TextLines(path: path)
    while let line = try lines.next() {
      guard !line.allSatisfy(\.isBlank) else { continue }
      do throws(LineDefect) {
        return try detect(line: line, isJSON: ["jsonl", "json", "ndjson"].contains(ending))
      } catch {
        throw .badLine(path: path, line: lines.number, cause: error.cause, remedy: error.remedy)
      }
    }
    throw .noExamples(path: path, cause: "nothing but white space in it; give a file with text")
  }

  private static func detect(line: [UInt8], isJSON: Bool) throws(LineDefect) -> TextFormat {
    let first = line.first { !$0.isBlank }
    guard isJSON || first == UInt8(ascii: "{") else {
      return line.contains(UInt8(ascii: "\t")) ? .pairsTSV : .lines
    }
    let object = try JSONLine(line)
    if object["messages"] != nil || object["conversations"] != nil { return .chatJSONL }
    if object["translation"] != nil || object["source"] != nil || object["target"] != nil {
      return .pairsJSONL
    }
    if object["text"] != nil { return .textJSONL }
    throw LineDefect(
      cause: "an object with \(object.keys)",
      remedy: "name its text `text`, `source` and `target`, or `messages`, or give the format")
  }
}

/// The object of a line of JSON.
struct JSONLine {
  private let members: [(key: String, value: JSONValue)]

  init(_ line: [UInt8]) throws(LineDefect) {
    let value: JSONValue
    do throws(JSONReader.Defect) {
      value = try JSONReader.read(line)
    } catch {
      throw LineDefect(
        cause: "no JSON at byte \(error.offset): \(error.cause)",
        remedy: "write one whole object a line, in UTF-8")
    }
    try self.init(value)
  }

  init(_ value: JSONValue) throws(LineDefect) {
    guard case .object(let members) = value else {
      throw LineDefect(
        cause: "\(value.kind) where an object is due",
        remedy: "write one object a line; `jq -c '.[]'` makes such lines of an array")
    }
    self.members = members
  }

  /// A member; nil where it is missing or null.
  subscript(_ key: String) -> JSONValue? {
    let value = members.first { $0.key.utf8.elementsEqual(key.utf8) }?.value
    if case .null = value { return nil }
    return value
  }

  /// The names of the members, for errors.
  var keys: String {
    members.isEmpty ? "no members" : members.prefix(8).map { "`\($0.key)`" }.joined(separator: " ")
  }

  func string(_ key: String) throws(LineDefect) -> String {
    guard let text = try optionalString(key) else {
      throw LineDefect(
        cause: "no `\(key)` among \(keys)", remedy: "give every line one, or the right format")
    }
    return text
  }

  func optionalString(_ key: String) throws(LineDefect) -> String? {
    switch self[key] {
    case nil: return nil
    case .string(let text): return text
    case .some(let value):
      throw LineDefect(
        cause: "\(value.kind) in `\(key)`, where a string is due", remedy: "write it as a string")
    }
  }

  func objects(_ key: String) throws(LineDefect) -> [JSONLine] {
    guard case .array(let values) = self[key] else {
      throw LineDefect(
        cause: "`\(key)` is no array", remedy: "write the messages as an array of objects")
    }
    var objects: [JSONLine] = []
    for value in values { objects.append(try JSONLine(value)) }
    return objects
  }
}

extension UInt8 {
  /// White space of ASCII.
  var isBlank: Bool { self == 0x20 || (0x09...0x0D).contains(self) }
}

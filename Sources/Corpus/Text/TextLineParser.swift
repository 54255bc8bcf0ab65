/// Makes records of the lines of one file.
struct TextLineParser {
  private let format: TextFormat
  private let sourceLanguage: String?
  private let targetLanguage: String?
  /// Of a table.
  private var columns: Columns?

  init(_ format: TextFormat, sourceLanguage: String?, targetLanguage: String?) {
    self.format = format
    (self.sourceLanguage, self.targetLanguage) = (sourceLanguage, targetLanguage)
  }

  /// The record of a line that is not blank; nil for the line of names of a table.
  mutating func record(_ line: [UInt8]) throws(LineDefect) -> TextRecord? {
    switch format {
    case .pairsTSV: try row(line)
    case .lines: .text(try text(line))
    case .textJSONL: .text(try JSONLine(line).string("text"))
    case .pairsJSONL: .pair(try pair(JSONLine(line)))
    case .chatJSONL: .chat(try chat(JSONLine(line)))
    }
  }

  private func text(_ bytes: [UInt8]) throws(LineDefect) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw LineDefect(
        cause: bytes.starts(with: [0x1F, 0x8B]) ? "compressed data" : "bytes that are not UTF-8",
        remedy: "unpack the file, and convert it to UTF-8 with iconv")
    }
    return text
  }

  // MARK: JSON

  private func pair(_ object: JSONLine) throws(LineDefect) -> TextPair {
    guard let translation = object["translation"] else {
      return TextPair(
        source: try object.string("source"), target: try object.string("target"),
        sourceLanguage: try object.optionalString("source_lang") ?? sourceLanguage,
        targetLanguage: try object.optionalString("target_lang") ?? targetLanguage)
    }
    guard let sourceLanguage, let targetLanguage else {
      throw LineDefect(
        cause: "a `translation` of no direction",
        remedy: "give source_lang and target_lang, two of \(try JSONLine(translation).keys)")
    }
    let texts = try JSONLine(translation)
    return TextPair(
      source: try texts.string(sourceLanguage), target: try texts.string(targetLanguage),
      sourceLanguage: sourceLanguage, targetLanguage: targetLanguage)
  }

  private func chat(_ object: JSONLine) throws(LineDefect) -> [ChatMessage] {
    let isMessages = object["messages"] != nil
    let (list, role, content) =
      isMessages ? ("messages", "role", "content") : ("conversations", "from", "value")
    var messages: [ChatMessage] = []
    for message in try object.objects(list) {
      let name = try message.string(role)
      guard let role = ChatMessage.Role(named: name) else {
        throw LineDefect(
          cause: "a message of the role `\(name)`",
          remedy: "give messages of system, user and assistant only")
      }
      messages.append(ChatMessage(role, try message.string(content)))
    }
    guard messages.contains(where: { $0.role == .assistant }) else {
      throw LineDefect(
        cause: "a conversation without an answer",
        remedy: "answers are the messages of the role assistant; leave out what has none")
    }
    return messages
  }

  // MARK: Tables

  /// Places of the columns of a table.
  private struct Columns {
    var source = 0
    var target = 1
    var sourceLanguage: Int?
    var targetLanguage: Int?
    /// Where no names were given: two or four.
    var count: Int?
  }

  private mutating func row(_ line: [UInt8]) throws(LineDefect) -> TextRecord? {
    let cells = try text(line).split(separator: "\t", omittingEmptySubsequences: false)
      .map { String($0) }
    guard let columns else {
      if let named = namedColumns(cells) {
        columns = named
        return nil
      }
      columns = try plainColumns(cells)
      return try row(line)
    }
    let needed =
      [columns.source, columns.target, columns.sourceLanguage ?? 0, columns.targetLanguage ?? 0]
      .reduce(0, max) + 1
    guard cells.count >= needed, columns.count.map({ $0 == cells.count }) ?? true else {
      throw LineDefect(
        cause: "\(cells.count) cells, not \(columns.count ?? needed)",
        remedy: "give every line the same columns, and no tab inside a text")
    }
    func language(_ column: Int?, _ given: String?) -> String? {
      guard let column, !cells[column].isEmpty else { return given }
      return cells[column]
    }
    return .pair(
      TextPair(
        source: cells[columns.source], target: cells[columns.target],
        sourceLanguage: language(columns.sourceLanguage, sourceLanguage),
        targetLanguage: language(columns.targetLanguage, targetLanguage)))
  }

  /// The columns that a line of names tells; nil where it is no such line.
  private func namedColumns(_ cells: [String]) -> Columns? {
    let names = cells.map { $0.lowercased() }
    func place(_ name: String, _ language: String?) -> Int? {
      names.firstIndex(of: name) ?? language.flatMap { cells.firstIndex(of: $0) }
    }
    guard let source = place("source", sourceLanguage), let target = place("target", targetLanguage)
    else { return nil }
    return Columns(
      source: source, target: target, sourceLanguage: names.firstIndex(of: "source_lang"),
      targetLanguage: names.firstIndex(of: "target_lang"))
  }

  private func plainColumns(_ cells: [String]) throws(LineDefect) -> Columns {
    switch cells.count {
    case 2: return Columns(count: 2)
    case 4: return Columns(sourceLanguage: 2, targetLanguage: 3, count: 4)
    default:
      throw LineDefect(
        cause: "\(cells.count) cells where 2 or 4 are due",
        remedy: "write source TAB target, or begin with a line of names such as source TAB target")
    }
  }
}

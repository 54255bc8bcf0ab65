/// Any value of JSON. Numbers without point and exponent that fit are integers.
package enum JSONValue: Hashable, Sendable {
  case null
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  /// The whole of the file at `path`.
  /// - Parameter byteCountMax: longest file that is read.
  package init(path: String, byteCountMax: Int = 1 << 24) throws(InterchangeError) {
    let file = try InputFile(path)
    let bytes = try file.contents(byteCountMax: byteCountMax)
    var json = JSONScanner(bytes: bytes, range: bytes.indices)
    do throws(FormatDefect) {
      self = try json.value()
      try json.end()
    } catch {
      throw try file.explaining(error)
    }
  }

  /// What it is, for messages.
  package var text: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .integer(let value): "\(value)"
    case .number(let value): "\(value)"
    case .string(let value): "\"\(printable(value))\""
    case .array(let values): "an array of \(values.count)"
    case .object(let members): "an object of \(members.count)"
    }
  }

  /// JSON as Hugging Face writes it: two spaces a level, keys in order.
  package var json: String {
    var text = ""
    write(to: &text, indent: "")
    return text
  }

  private func write(to text: inout String, indent: String) {
    switch self {
    case .null, .bool, .integer, .number: text += self.text
    case .string(let value): Self.quote(value, to: &text)
    case .array(let values):
      Self.write(values, "[", "]", to: &text, indent) { value, text, indent in
        value.write(to: &text, indent: indent)
      }
    case .object(let members):
      Self.write(members.sorted { $0.key < $1.key }, "{", "}", to: &text, indent) {
        member, text, indent in
        Self.quote(member.key, to: &text)
        text += ": "
        member.value.write(to: &text, indent: indent)
      }
    }
  }

  private static func write<Element>(
    _ elements: [Element], _ start: String, _ end: String, to text: inout String,
    _ indent: String, _ element: (Element, inout String, String) -> Void
  ) {
    text += start
    for (index, value) in elements.enumerated() {
      text += (index == 0 ? "\n" : ",\n") + indent + "  "
      element(value, &text, indent + "  ")
    }
    text += (elements.isEmpty ? "" : "\n" + indent) + end
  }

  static func quote(_ string: String, to text: inout String) {
    text += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"", "\\": text += "\\\(scalar)"
      case "\u{0}"..<" ":
        let digits = String(scalar.value, radix: 16)
        text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: text.unicodeScalars.append(scalar)
      }
    }
    text += "\""
  }
}

extension JSONScanner {
  /// Whatever value comes.
  /// - Parameter depth: most brackets in each other.
  mutating func value(depth: Int = 16) throws(Defect) -> JSONValue {
    guard depth > 0 else { throw Defect(offset: index, cause: "too many brackets in each other") }
    switch next() {
    case "\"": return .string(try string())
    case "[":
      var values: [JSONValue] = []
      try array { (json) throws(Defect) in values.append(try json.value(depth: depth - 1)) }
      return .array(values)
    case "{":
      var members: [String: JSONValue] = [:]
      try object { (json, key, offset) throws(Defect) in
        guard members.updateValue(try json.value(depth: depth - 1), forKey: key) == nil else {
          throw Defect(offset: offset, cause: "`\(printable(key))` is there twice")
        }
      }
      return .object(members)
    default: return try literal()
    }
  }

  private mutating func literal() throws(Defect) -> JSONValue {
    _ = next()
    let offset = index
    let word = try word()
    switch word {
    case "null": return .null
    case "true": return .bool(true)
    case "false": return .bool(false)
    default: break
    }
    guard Self.isNumber(word) else {
      throw Defect(offset: offset, cause: "`\(printable(word))` is no value of JSON")
    }
    if let integer = Int(word) { return .integer(integer) }
    guard let number = Double(word), number.isFinite else {
      throw Defect(offset: offset, cause: "the number \(printable(word)) is too large")
    }
    return .number(number)
  }

  /// Whether JSON writes a number so: -0.5e+3, without leading zeros, with a digit around the point.
  private static func isNumber(_ word: String) -> Bool {
    var rest = word.utf8[...]
    func digits() -> Int {
      let count = rest.prefix { (0x30...0x39).contains($0) }.count
      rest = rest.dropFirst(count)
      return count
    }
    if rest.first == UInt8(ascii: "-") { rest.removeFirst() }
    let hasLeadingZero = rest.first == UInt8(ascii: "0")
    let count = digits()
    guard count == 1 || (count > 1 && !hasLeadingZero) else { return false }
    if rest.first == UInt8(ascii: ".") {
      rest.removeFirst()
      guard digits() > 0 else { return false }
    }
    if rest.first.map({ $0 | 0x20 }) == UInt8(ascii: "e") {
      rest.removeFirst()
      if [UInt8(ascii: "+"), UInt8(ascii: "-")].contains(rest.first) { rest.removeFirst() }
      guard digits() > 0 else { return false }
    }
    return rest.isEmpty
  }
}

/// A JSON document. Foundation's reader puts the members of an object into a dictionary of strings,
/// which loses entries of a vocabulary that are canonically equivalent; here they stay a list.
package enum JSONValue: Sendable {
  case null
  case bool(Bool)
  /// A number without fraction and exponent that fits.
  case integer(Int)
  case number(Double)
  case string(String)
  case array([JSONValue])
  case object([(key: String, value: JSONValue)])

  /// What it is, for errors.
  package var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a truth value"
    case .integer: "an integer"
    case .number: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

/// Reads JSON as RFC 8259 has it. No input traps: nesting is bounded, and all else is an error.
package struct JSONReader {
  package struct Defect: Error {
    package let offset: Int
    package let cause: String
  }

  private let bytes: [UInt8]
  private var index = 0

  static let depthMax = 64

  /// The one value that `bytes` are.
  package static func read(_ bytes: [UInt8]) throws(Defect) -> JSONValue {
    var reader = JSONReader(bytes: bytes)
    let value = try reader.value(depth: 0)
    reader.skipSpace()
    guard reader.index == bytes.count else { throw reader.unexpected("the end of the file") }
    return value
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private mutating func value(depth: Int) throws(Defect) -> JSONValue {
    guard depth <= Self.depthMax else {
      throw Defect(offset: index, cause: "more than \(Self.depthMax) brackets inside each other")
    }
    skipSpace()
    guard index < bytes.count else { throw unexpected("a value") }
    switch bytes[index] {
    case UInt8(ascii: "{"): return try object(depth: depth)
    case UInt8(ascii: "["): return try array(depth: depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return try number()
    }
  }

  private mutating func object(depth: Int) throws(Defect) -> JSONValue {
    try expect("{")
    var members: [(key: String, value: JSONValue)] = []
    if takes("}") { return .object(members) }
    repeat {
      skipSpace()
      let key = try string()
      try expect(":")
      members.append((key, try value(depth: depth + 1)))
    } while takes(",")
    try expect("}")
    return .object(members)
  }

  private mutating func array(depth: Int) throws(Defect) -> JSONValue {
    try expect("[")
    var values: [JSONValue] = []
    if takes("]") { return .array(values) }
    repeat { values.append(try value(depth: depth + 1)) } while takes(",")
    try expect("]")
    return .array(values)
  }

  private mutating func word(_ word: String, _ value: JSONValue) throws(Defect) -> JSONValue {
    guard bytes[index...].starts(with: word.utf8) else { throw unexpected("a value") }
    index += word.utf8.count
    return value
  }

  // MARK: Numbers

  private mutating func number() throws(Defect) -> JSONValue {
    let start = index
    var isInteger = true
    _ = takesByte("-")
    let digits = index
    try digitRun()
    guard index - digits == 1 || bytes[digits] != UInt8(ascii: "0") else {
      throw Defect(offset: start, cause: "a number with a leading zero")
    }
    if takesByte(".") {
      isInteger = false
      try digitRun()
    }
    if takesByte("e") || takesByte("E") {
      isInteger = false
      if !takesByte("-") { _ = takesByte("+") }
      try digitRun()
    }
    let text = String(decoding: bytes[start..<index], as: UTF8.self)
    if isInteger, let value = Int(text) { return .integer(value) }
    guard let value = Double(text), value.isFinite else {
      throw Defect(offset: start, cause: "a number that is too large")
    }
    return .number(value)
  }

  private mutating func digitRun() throws(Defect) {
    let start = index
    while index < bytes.count, bytes[index] &- UInt8(ascii: "0") <= 9 { index += 1 }
    guard index > start else { throw unexpected("a value") }
  }

  // MARK: Strings

  private mutating func string() throws(Defect) -> String {
    guard takesByte("\"") else { throw unexpected("a string") }
    let start = index
    var escaped: [UInt8] = []
    var from = start
    while index < bytes.count {
      switch bytes[index] {
      case UInt8(ascii: "\""):
        escaped += bytes[from..<index]
        index += 1
        guard let text = String(validating: escaped, as: UTF8.self) else {
          throw Defect(offset: start, cause: "a string that is not UTF-8")
        }
        return text
      case UInt8(ascii: "\\"):
        escaped += bytes[from..<index]
        index += 1
        try escape(&escaped)
        from = index
      case 0..<0x20: throw Defect(offset: index, cause: "a control character in a string")
      default: index += 1
      }
    }
    throw Defect(offset: start, cause: "a string without an end")
  }

  /// What follows a backslash.
  private mutating func escape(_ text: inout [UInt8]) throws(Defect) {
    guard index < bytes.count else { throw unexpected("an escape") }
    let byte = bytes[index]
    index += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(8)
    case UInt8(ascii: "f"): text.append(12)
    case UInt8(ascii: "n"): text.append(10)
    case UInt8(ascii: "r"): text.append(13)
    case UInt8(ascii: "t"): text.append(9)
    case UInt8(ascii: "u"): text += String(try scalar()).utf8
    default: throw Defect(offset: index - 1, cause: "an unknown escape in a string")
    }
  }

  /// The scalar of `\uXXXX`, or of the two halves of a surrogate pair.
  private mutating func scalar() throws(Defect) -> Unicode.Scalar {
    let offset = index
    let first = try hexadecimal()
    var value = first
    if (0xD800..<0xDC00).contains(first), takesByte("\\"), takesByte("u") {
      let second = try hexadecimal()
      if (0xDC00..<0xE000).contains(second) {
        value = 0x10000 + (first - 0xD800) << 10 + (second - 0xDC00)
      }
    }
    guard let scalar = Unicode.Scalar(value) else {
      throw Defect(offset: offset, cause: "half a surrogate pair")
    }
    return scalar
  }

  private mutating func hexadecimal() throws(Defect) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      let digit = index < bytes.count ? Character(Unicode.Scalar(bytes[index])).hexDigitValue : nil
      guard let digit else { throw unexpected("a hexadecimal digit") }
      value = value << 4 | UInt32(digit)
      index += 1
    }
    return value
  }

  // MARK: Pieces

  private mutating func takesByte(_ character: Unicode.Scalar) -> Bool {
    guard index < bytes.count, bytes[index] == UInt8(ascii: character) else { return false }
    index += 1
    return true
  }

  /// Steps over `character` after spaces; false when something else comes.
  private mutating func takes(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    return takesByte(character)
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(Defect) {
    guard takes(character) else { throw unexpected("`\(character)`") }
  }

  private mutating func skipSpace() {
    while index < bytes.count {
      switch bytes[index] {
      case 0x20, 0x09, 0x0A, 0x0D: index += 1
      default: return
      }
    }
  }

  private func unexpected(_ wanted: String) -> Defect {
    Defect(
      offset: index, cause: "\(index < bytes.count ? "something else" : "the end") for \(wanted)")
  }
}

/// Reads JSON. Whoever calls says what comes next and all else is an error, so nothing recurses,
/// however deep the brackets; `value` alone takes what comes, to a depth. No input traps.
struct JSONScanner {
  typealias Defect = FormatDefect

  private let bytes: [UInt8]
  private let endIndex: Int
  /// Of the byte that is read next.
  private(set) var index: Int

  /// Longest string taken, in bytes.
  private static let stringByteCountMax = 1 << 16

  /// - Parameter range: of the JSON inside `bytes`.
  init(bytes: [UInt8], range: Range<Int>) {
    precondition(range.lowerBound >= 0, "the JSON starts inside the bytes")
    precondition(range.upperBound <= bytes.count, "the JSON ends inside the bytes")
    self.bytes = bytes
    (index, endIndex) = (range.lowerBound, range.upperBound)
  }

  /// An object: `member` reads the value of each key; the offset is that of the key.
  mutating func object(
    _ member: (inout JSONScanner, _ key: String, _ offset: Int) throws(Defect) -> Void
  ) throws(Defect) {
    try expect("{")
    if takes("}") { return }
    repeat {
      skipSpace()
      let offset = index
      let key = try string()
      try expect(":")
      try member(&self, key, offset)
    } while takes(",")
    try expect("}")
  }

  /// An array of natural numbers.
  mutating func integers() throws(Defect) -> [Int] {
    try expect("[")
    if takes("]") { return [] }
    var values: [Int] = []
    repeat { values.append(try integer()) } while takes(",")
    try expect("]")
    return values
  }

  mutating func string() throws(Defect) -> String {
    try expect("\"")
    let start = index
    var text: [UInt8] = []
    while index < endIndex, text.count < Self.stringByteCountMax {
      let byte = bytes[index]
      index += 1
      switch byte {
      case UInt8(ascii: "\""):
        guard let string = String(validating: text, as: UTF8.self) else {
          throw Defect(offset: start, cause: "a string that is not UTF-8")
        }
        return string
      case UInt8(ascii: "\\"): try escape(&text)
      case 0..<0x20: throw Defect(offset: index - 1, cause: "a control character in a string")
      default: text.append(byte)
      }
    }
    throw Defect(offset: start, cause: "a string without an end")
  }

  /// An array: `element` reads each of its values.
  mutating func array(
    _ element: (inout JSONScanner) throws(Defect) -> Void
  ) throws(Defect) {
    try expect("[")
    if takes("]") { return }
    repeat { try element(&self) } while takes(",")
    try expect("]")
  }

  /// What the next value starts with; nil at the end.
  mutating func next() -> Unicode.Scalar? {
    skipSpace()
    return index < endIndex ? Unicode.Scalar(bytes[index]) : nil
  }

  /// Letters, digits and signs up to anything else: a number, `true`, `false` or `null`.
  mutating func word() throws(Defect) -> String {
    skipSpace()
    let start = index
    while index < endIndex, Self.isWord(bytes[index]) { index += 1 }
    guard index > start else { throw unexpected("a value") }
    return String(decoding: bytes[start..<index], as: UTF8.self)
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "+"), UInt8(ascii: "-"),
      UInt8(ascii: "."):
      true
    default: false
    }
  }

  /// Nothing but spaces is left.
  mutating func end() throws(Defect) {
    skipSpace()
    guard index == endIndex else { throw unexpected("the end of the JSON") }
  }

  // MARK: Pieces

  private mutating func integer() throws(Defect) -> Int {
    skipSpace()
    let start = index
    var value = 0
    while index < endIndex, case let digit = bytes[index] &- UInt8(ascii: "0"), digit <= 9 {
      let (product, isTooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, isTooLargeNow) = product.addingReportingOverflow(Int(digit))
      guard !isTooLarge, !isTooLargeNow else {
        throw Defect(offset: start, cause: "a number above 2^63")
      }
      value = sum
      index += 1
    }
    guard index > start else { throw unexpected("a natural number") }
    guard index - start == 1 || bytes[start] != UInt8(ascii: "0") else {
      throw Defect(offset: start, cause: "a number with a leading zero")
    }
    return value
  }

  /// What follows a backslash.
  private mutating func escape(_ text: inout [UInt8]) throws(Defect) {
    guard index < endIndex else { throw Defect(offset: index, cause: "a string without an end") }
    let byte = bytes[index]
    index += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(8)
    case UInt8(ascii: "f"): text.append(12)
    case UInt8(ascii: "n"): text.append(10)
    case UInt8(ascii: "r"): text.append(13)
    case UInt8(ascii: "t"): text.append(9)
    case UInt8(ascii: "u"): text += Array(String(try unicode()).utf8)
    default: throw Defect(offset: index - 1, cause: "an unknown escape in a string")
    }
  }

  /// The character of `\uXXXX`, or of the two halves of a surrogate pair.
  private mutating func unicode() throws(Defect) -> Unicode.Scalar {
    let offset = index
    var value = try hexadecimal()
    if (0xD800..<0xDC00).contains(value) {
      let hasSecond =
        index + 1 < endIndex && bytes[index] == UInt8(ascii: "\\")
        && bytes[index + 1] == UInt8(ascii: "u")
      guard hasSecond else { throw Defect(offset: offset, cause: "half a surrogate pair") }
      index += 2
      let second = try hexadecimal()
      guard (0xDC00..<0xE000).contains(second) else {
        throw Defect(offset: offset, cause: "half a surrogate pair")
      }
      value = 0x10000 + (value - 0xD800) << 10 + (second - 0xDC00)
    }
    guard let scalar = Unicode.Scalar(value) else {
      throw Defect(offset: offset, cause: "half a surrogate pair")
    }
    return scalar
  }

  private mutating func hexadecimal() throws(Defect) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      let digit = index < endIndex ? Character(Unicode.Scalar(bytes[index])).hexDigitValue : nil
      guard let digit else { throw unexpected("a hexadecimal digit") }
      value = value << 4 | UInt32(digit)
      index += 1
    }
    return value
  }

  /// Steps over `character` after spaces; false when something else comes.
  private mutating func takes(_ character: Unicode.Scalar) -> Bool {
    skipSpace()
    guard index < endIndex, Unicode.Scalar(bytes[index]) == character else { return false }
    index += 1
    return true
  }

  private mutating func expect(_ character: Unicode.Scalar) throws(Defect) {
    guard takes(character) else { throw unexpected("`\(character)`") }
  }

  private mutating func skipSpace() {
    while index < endIndex, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[index]) { index += 1 }
  }

  private func unexpected(_ wanted: String) -> Defect {
    Defect(offset: index, cause: "\(index < endIndex ? "something else" : "the end") for \(wanted)")
  }
}

import Foundation

/// What a text is searched for: a literal or a regular expression.
///
/// Expressions are those of ICU, which agree with Oniguruma's, for which they are written, in
/// Unicode classes, lookaround, and possessive and lazy repetition; `^` and `$` hold at every line
/// feed, as there.
enum TextPattern: Sendable {
  case literal([UInt8])
  case expression(NSRegularExpression)

  static let known = ["String", "Regex"]

  /// Reads `{"String": …}` or `{"Regex": …}`.
  init(_ field: JSONField) throws(TokenizerError) {
    let members = try field.members()
    guard members.count == 1, let (kind, value) = members.first else {
      throw field.malformed("not one of \(Self.known.joined(separator: ", "))")
    }
    switch kind {
    case "String":
      let text = try value.string()
      guard !text.isEmpty else { throw value.malformed("an empty pattern") }
      self = .literal(Array(text.utf8))
    case "Regex": try self.init(expression: try value.string(), value)
    default: throw field.unsupported("the pattern \(kind)", known: Self.known)
    }
  }

  /// Longest expression taken, in UTF-8 bytes: ICU parses groups recursively.
  private static let expressionByteCountMax = 4096

  init(expression text: String, _ field: JSONField) throws(TokenizerError) {
    guard text.utf8.count <= Self.expressionByteCountMax else {
      throw field.malformed("an expression of more than \(Self.expressionByteCountMax) bytes")
    }
    guard !text.isEmpty else { throw field.malformed("an empty pattern") }
    do {
      self = .expression(
        try NSRegularExpression(
          pattern: text, options: [.anchorsMatchLines, .useUnixLineSeparators])
      )
    } catch {
      throw field.malformed("no regular expression: \(text)")
    }
  }

  /// Where it matches in `bytes[range]`, from left to right, without overlap. The ends of the range
  /// are those of the text.
  func matches(in bytes: [UInt8], _ range: Range<Int>) -> [Range<Int>] {
    switch self {
    case .literal(let literal): Self.find(literal, in: bytes, range)
    case .expression(let expression): Self.find(expression, in: bytes, range)
    }
  }

  /// The text with every match replaced by `content`.
  func replacing(in bytes: [UInt8], with content: [UInt8]) -> [UInt8] {
    let found = matches(in: bytes, 0..<bytes.count)
    if found.isEmpty { return bytes }
    var replaced: [UInt8] = []
    var copied = 0
    for match in found {
      replaced += bytes[copied..<match.lowerBound]
      replaced += content
      copied = match.upperBound
    }
    return replaced + bytes[copied...]
  }

  private static func find(
    _ literal: [UInt8], in bytes: [UInt8], _ range: Range<Int>
  ) -> [Range<Int>] {
    var found: [Range<Int>] = []
    var index = range.lowerBound
    while index + literal.count <= range.upperBound {
      if bytes[index] == literal[0], bytes[index...].starts(with: literal) {
        found.append(index..<index + literal.count)
        index += literal.count
      } else {
        index += 1
      }
    }
    return found
  }

  private static func find(
    _ expression: NSRegularExpression, in bytes: [UInt8], _ range: Range<Int>
  ) -> [Range<Int>] {
    let text = String(decoding: bytes[range], as: UTF8.self)
    var found: [Range<Int>] = []
    var (unit, offset) = (0, range.lowerBound)
    // Matches come in order, so each place is a few steps from the last.
    func byteOffset(of target: Int) -> Int {
      while unit < target, offset < range.upperBound {
        switch bytes[offset] {
        case ..<0x80: (unit, offset) = (unit + 1, offset + 1)
        case ..<0xE0: (unit, offset) = (unit + 1, offset + 2)
        case ..<0xF0: (unit, offset) = (unit + 1, offset + 3)
        default: (unit, offset) = (unit + 2, offset + 4)
        }
      }
      return min(offset, range.upperBound)
    }
    let whole = NSRange(location: 0, length: text.utf16.count)
    unsafe expression.enumerateMatches(in: text, range: whole) { match, _, _ in
      guard let match, match.range.location >= unit else { return }
      let start = byteOffset(of: match.range.location)
      found.append(start..<byteOffset(of: match.range.location + match.range.length))
    }
    return found
  }
}

/// Tokens beside those of the model, which are found in the text before it is cut.
struct AddedTokens: Sendable {
  struct Token: Sendable {
    let id: Int32
    let text: String
    var isSpecial = false
    /// Only where no word continues before or after.
    var isSingleWord = false
    /// Takes the white space before or after it along.
    var stripsLeft = false
    var stripsRight = false
    /// Found in the normalised text, by its own normalised text.
    var isNormalized = false
  }

  /// A part of a text: a token, or text between tokens.
  struct Segment: Sendable {
    let range: Range<Int>
    let id: Int32?
  }

  let tokens: [Token]
  private let exact: PieceTrie
  private let normalized: PieceTrie

  /// - Parameter normalize: what the tokenizer does to text.
  init(
    _ tokens: [Token], normalize: ([UInt8]) throws(TokenizerError) -> [UInt8]
  ) throws(TokenizerError) {
    var exact: [(bytes: [UInt8], value: Int32)] = []
    var normalized: [(bytes: [UInt8], value: Int32)] = []
    for (index, token) in tokens.enumerated() {
      let bytes = Array(token.text.utf8)
      if token.isNormalized {
        normalized.append((try normalize(bytes), Int32(index)))
      } else {
        exact.append((bytes, Int32(index)))
      }
    }
    self.tokens = tokens
    self.exact = PieceTrie(exact.filter { !$0.bytes.isEmpty })
    self.normalized = PieceTrie(normalized.filter { !$0.bytes.isEmpty })
  }

  /// Reads `added_tokens`; tokens without text are none.
  static func read(_ field: JSONField) throws(TokenizerError) -> [Token] {
    guard field.isPresent else { return [] }
    var tokens: [Token] = []
    for element in try field.elements() {
      let isSpecial = try element["special"].bool(default: false)
      let isNormalized = try element["normalized"].bool(default: !isSpecial)
      tokens.append(try token(element, id: try element["id"].id(), isNormalized: isNormalized))
    }
    return tokens.filter { !$0.text.isEmpty }
  }

  static func token(
    _ field: JSONField, id: Int32, isNormalized: Bool
  ) throws(TokenizerError) -> Token {
    Token(
      id: id, text: try field["content"].string(),
      isSpecial: try field["special"].bool(default: false),
      isSingleWord: try field["single_word"].bool(default: false),
      stripsLeft: try field["lstrip"].bool(default: false),
      stripsRight: try field["rstrip"].bool(default: false), isNormalized: isNormalized)
  }

  /// The parts of a text before it is normalised.
  func segments(of bytes: [UInt8]) -> [Segment] { segments(of: bytes, exact) }

  /// The parts of a normalised text.
  func segments(ofNormalized bytes: [UInt8]) -> [Segment] { segments(of: bytes, normalized) }

  /// From left to right, of those that begin at one place the longest.
  private func segments(of bytes: [UInt8], _ trie: PieceTrie) -> [Segment] {
    var segments: [Segment] = []
    var (taken, index) = (0, 0)
    while index < bytes.count {
      guard trie.begins(with: bytes[index]), let match = longest(in: bytes, at: index, trie) else {
        index += 1
        continue
      }
      let token = tokens[match.index]
      index = match.range.upperBound
      guard !token.isSingleWord || Self.standsAlone(match.range, in: bytes) else { continue }
      let range = Self.widened(match.range, by: token, in: bytes, notBefore: taken)
      // White space that the token before took along may be this one.
      guard range.upperBound > taken else { continue }
      if range.lowerBound > taken {
        segments.append(Segment(range: taken..<range.lowerBound, id: nil))
      }
      segments.append(Segment(range: range, id: token.id))
      taken = range.upperBound
    }
    if taken < bytes.count { segments.append(Segment(range: taken..<bytes.count, id: nil)) }
    return segments
  }

  private func longest(
    in bytes: [UInt8], at start: Int, _ trie: PieceTrie
  ) -> (range: Range<Int>, index: Int)? {
    var longest: (range: Range<Int>, index: Int)?
    trie.prefixes(of: bytes, from: start, to: bytes.count) { end, value in
      longest = (start..<end, Int(value))
    }
    return longest
  }

  private static func standsAlone(_ range: Range<Int>, in bytes: [UInt8]) -> Bool {
    let before = bytes[..<range.lowerBound].suffix { $0 & 0xC0 == 0x80 }
    let start = max(before.startIndex - 1, 0)
    let end = range.upperBound
    let width = end < bytes.count ? bytes.characterWidth(at: end) : 0
    return bytes[start..<range.lowerBound].scalars.last?.isWord != true
      && bytes[end..<end + width].scalars.first?.isWord != true
  }

  private static func widened(
    _ range: Range<Int>, by token: Token, in bytes: [UInt8], notBefore taken: Int
  ) -> Range<Int> {
    var (start, end) = (max(range.lowerBound, taken), range.upperBound)
    if token.stripsLeft, taken < start {
      start = bytes[taken..<start].stripped(left: false, right: true).endIndex
    }
    if token.stripsRight {
      end = bytes[end...].stripped(left: true, right: false).startIndex
    }
    return min(start, end)..<end
  }
}

extension ArraySlice<UInt8> {
  /// The longest end of which `holds` is true throughout.
  fileprivate func suffix(while holds: (UInt8) -> Bool) -> ArraySlice<UInt8> {
    self[(lastIndex { !holds($0) }.map { $0 + 1 } ?? startIndex)...]
  }
}

/// One step from tokens back to text. Each takes a list of texts and makes another; the last list
/// is put together.
enum TokenDecoder: Sendable {
  case byteLevel
  case metaspace(Metaspace)
  /// `<0xXX>` to the byte.
  case byteFallback
  case fuse
  case strip(Unicode.Scalar, start: Int, stop: Int)
  case replace(TextPattern, [UInt8])

  static let known = [
    "Sequence", "ByteLevel", "Metaspace", "ByteFallback", "Fuse", "Strip", "Replace",
  ]

  /// How many times longer than its tokens a text may become at most.
  private static let growthMax = 4096

  /// The steps of `decoder`; nil where there is none, and tokens are put together with spaces.
  static func steps(_ field: JSONField) throws(TokenizerError) -> [TokenDecoder]? {
    guard field.isPresent else { return nil }
    let steps = try field.steps(nested: "decoders") {
      kind, field throws(TokenizerError) -> TokenDecoder in
      switch kind {
      case "ByteLevel": .byteLevel
      case "Metaspace": .metaspace(try Metaspace(field))
      case "ByteFallback": .byteFallback
      case "Fuse": .fuse
      case "Strip":
        .strip(
          try field["content"].scalar(), start: try field["start"].integer(in: 0...1024),
          stop: try field["stop"].integer(in: 0...1024))
      case "Replace":
        .replace(try TextPattern(field["pattern"]), try field["content"].shortText())
      default: throw field.unsupported("the decoder \(kind)", known: known)
      }
    }
    var growth = 1
    for case .replace(_, let content) in steps {
      growth *= 1 + content.count
      guard growth <= growthMax else { throw field.malformed("text that grows without bounds") }
    }
    return steps
  }

  func callAsFunction(_ tokens: [String]) -> [String] {
    switch self {
    case .byteLevel: [String(decoding: tokens.flatMap(Self.bytes), as: UTF8.self)]
    case .metaspace(let metaspace):
      tokens.enumerated().map { metaspace.text($1, isFirst: $0 == 0) }
    case .byteFallback: Self.joiningBytes(tokens)
    case .fuse: [tokens.joined()]
    case .strip(let scalar, let start, let stop):
      tokens.map { Self.strip($0, scalar, start: start, stop: stop) }
    case .replace(let pattern, let content):
      tokens.map { token in
        String(decoding: pattern.replacing(in: Array(token.utf8), with: content), as: UTF8.self)
      }
    }
  }

  /// The bytes that a token writes; its own where it is not of the alphabet.
  private static func bytes(of token: String) -> [UInt8] {
    var bytes: [UInt8] = []
    for scalar in token.unicodeScalars {
      guard let byte = ByteLevel.byte(scalar) else { return Array(token.utf8) }
      bytes.append(byte)
    }
    return bytes
  }

  /// Neighbouring bytes become text; where they are no UTF-8, each is one replacement character.
  private static func joiningBytes(_ tokens: [String]) -> [String] {
    var joined: [String] = []
    var bytes: [UInt8] = []
    func flush() {
      if bytes.isEmpty { return }
      joined.append(
        String(validating: bytes, as: UTF8.self)
          ?? String(repeating: "\u{FFFD}", count: bytes.count))
      bytes.removeAll(keepingCapacity: true)
    }
    for token in tokens {
      if let byte = byte(of: token) {
        bytes.append(byte)
      } else {
        flush()
        joined.append(token)
      }
    }
    flush()
    return joined
  }

  private static func byte(of token: String) -> UInt8? {
    let text = Array(token.utf8)
    guard text.count == 6, text.starts(with: "<0x".utf8), text[5] == UInt8(ascii: ">") else {
      return nil
    }
    return UInt8(String(decoding: text[3..<5], as: UTF8.self), radix: 16)
  }

  /// Without up to `start` and `stop` of the scalar at the ends.
  private static func strip(
    _ token: String, _ scalar: Unicode.Scalar, start: Int, stop: Int
  ) -> String {
    var scalars = Array(token.unicodeScalars)[...]
    for _ in 0..<start where scalars.first == scalar { scalars.removeFirst() }
    for _ in 0..<stop where scalars.last == scalar { scalars.removeLast() }
    return String(String.UnicodeScalarView(scalars))
  }
}

/// One step of how a tokenizer cuts a text into words, across which no token reaches.
enum PreTokenizer: Sendable {
  /// A space before each piece that has none, cuts by `words`, bytes as characters.
  case byteLevel(addsSpace: Bool, words: TextPattern?)
  case split(TextPattern, SplitBehavior, isInverted: Bool)
  case metaspace(Metaspace)
  /// Words of letters and words of symbols, without the space between.
  case whitespace
  /// What lies between spaces.
  case whitespaceSplit
  case digits(areIndividual: Bool)
  case punctuation(SplitBehavior)

  static let known = [
    "Sequence", "ByteLevel", "Split", "Metaspace", "Whitespace", "WhitespaceSplit", "Digits",
    "Punctuation",
  ]

  /// The steps of `pre_tokenizer`; none where there is none.
  static func steps(_ field: JSONField) throws(TokenizerError) -> [PreTokenizer] {
    try field.steps(nested: "pretokenizers") { kind, field throws(TokenizerError) in
      switch kind {
      case "ByteLevel":
        let words = try field["use_regex"].bool(default: true)
        return .byteLevel(
          addsSpace: try field["add_prefix_space"].bool(default: true),
          words: words ? try TextPattern(expression: ByteLevel.words, field) : nil)
      case "Split":
        return .split(
          try TextPattern(field["pattern"]), try SplitBehavior(field["behavior"]),
          isInverted: try field["invert"].bool(default: false))
      case "Metaspace": return .metaspace(try Metaspace(field))
      case "Whitespace": return .whitespace
      case "WhitespaceSplit": return .whitespaceSplit
      case "Digits":
        return .digits(areIndividual: try field["individual_digits"].bool(default: false))
      case "Punctuation":
        let behavior = field["behavior"]
        return .punctuation(behavior.isPresent ? try SplitBehavior(behavior) : .isolated)
      default: throw field.unsupported("the pre-tokenizer \(kind)", known: known)
      }
    }
  }

  /// - Parameter writesBytes: whether bytes are written as characters now; else whoever takes the
  ///   pieces does so.
  func apply(to pieces: inout TextPieces, writesBytes: Bool) {
    switch self {
    case .byteLevel(let addsSpace, let words):
      Self.byteLevel(&pieces, addsSpace: addsSpace, words: words, writesBytes: writesBytes)
    case .split(let pattern, let behavior, let isInverted):
      pieces.split { bytes, range in
        let matches = pattern.matches(in: bytes, range)
        return behavior.pieces(of: range, matches: matches, isInverted: isInverted)
      }
    case .metaspace(let metaspace): metaspace.apply(to: &pieces)
    case .whitespace:
      pieces.split { Self.runs(in: $0, $1) { $0.isWord ? 1 : $0.isSpace ? nil : 2 } }
    case .whitespaceSplit: pieces.split { Self.runs(in: $0, $1) { $0.isSpace ? nil : 1 } }
    case .digits(let areIndividual):
      let behavior: SplitBehavior = areIndividual ? .isolated : .contiguous
      pieces.split { Self.split($0, $1, behavior, at: \.isNumber) }
    case .punctuation(let behavior):
      pieces.split { Self.split($0, $1, behavior, at: \.isPunctuation) }
    }
  }

  private static func byteLevel(
    _ pieces: inout TextPieces, addsSpace: Bool, words: TextPattern?, writesBytes: Bool
  ) {
    let space = UInt8(ascii: " ")
    if addsSpace {
      pieces.rewrite { bytes, _, written in
        if bytes.first != space { written.append(space) }
        written += bytes
      }
    }
    if let words {
      pieces.split { bytes, range in
        SplitBehavior.isolated.pieces(of: range, matches: words.matches(in: bytes, range))
      }
    }
    if writesBytes {
      pieces.rewrite { bytes, _, written in
        for byte in bytes { written += ByteLevel.characters[Int(byte)] }
      }
    }
  }

  /// Pieces of neighbouring scalars of one class; those of class nil are dropped.
  private static func runs(
    in bytes: [UInt8], _ range: Range<Int>, class: (Unicode.Scalar) -> Int?
  ) -> [Range<Int>] {
    var pieces: [Range<Int>] = []
    var last: Int?
    var offset = range.lowerBound
    for scalar in bytes[range].scalars {
      let end = offset + UTF8.width(scalar)
      let kind = `class`(scalar)
      if let kind, kind == last, let piece = pieces.popLast() {
        pieces.append(piece.lowerBound..<end)
      } else if kind != nil {
        pieces.append(offset..<end)
      }
      (last, offset) = (kind, end)
    }
    return pieces
  }

  private static func split(
    _ bytes: [UInt8], _ range: Range<Int>, _ behavior: SplitBehavior,
    at isCut: (Unicode.Scalar) -> Bool
  ) -> [Range<Int>] {
    var matches: [Range<Int>] = []
    var offset = range.lowerBound
    for scalar in bytes[range].scalars {
      let end = offset + UTF8.width(scalar)
      if isCut(scalar) { matches.append(offset..<end) }
      offset = end
    }
    return behavior.pieces(of: range, matches: matches)
  }
}

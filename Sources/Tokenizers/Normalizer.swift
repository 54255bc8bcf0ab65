/// One step of what a tokenizer does to a text before it is cut.
enum Normalizer: Sendable {
  case canonicalComposition, canonicalDecomposition
  case compatibilityComposition, compatibilityDecomposition
  case lowercase, stripAccents
  case strip(left: Bool, right: Bool)
  case prepend([UInt8])
  case replace(TextPattern, [UInt8])
  case characterMap(CharacterMap)

  static let known = [
    "Sequence", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Prepend",
    "Replace", "Precompiled",
  ]

  /// The steps of `normalizer`; none where there is none.
  static func steps(_ field: JSONField) throws(TokenizerError) -> [Normalizer] {
    try field.steps(nested: "normalizers") { kind, field throws(TokenizerError) in
      switch kind {
      case "NFC": .canonicalComposition
      case "NFD": .canonicalDecomposition
      case "NFKC": .compatibilityComposition
      case "NFKD": .compatibilityDecomposition
      case "Lowercase": .lowercase
      case "StripAccents": .stripAccents
      case "Strip":
        .strip(left: try field["strip_left"].bool(), right: try field["strip_right"].bool())
      case "Prepend": .prepend(try field["prepend"].shortText())
      case "Replace":
        .replace(try TextPattern(field["pattern"]), try field["content"].shortText())
      case "Precompiled": .characterMap(try CharacterMap(field["precompiled_charsmap"]))
      default: throw field.unsupported("the normalizer \(kind)", known: known)
      }
    }
  }

  func callAsFunction(_ bytes: [UInt8]) -> [UInt8] {
    switch self {
    case .canonicalComposition: UnicodeForm.canonical(bytes, isComposed: true)
    case .canonicalDecomposition: UnicodeForm.canonical(bytes, isComposed: false)
    case .compatibilityComposition: UnicodeForm.compatibility(bytes, isComposed: true)
    case .compatibilityDecomposition: UnicodeForm.compatibility(bytes, isComposed: false)
    case .lowercase:
      bytes[...].scalars.reduce(into: []) { $0 += $1.properties.lowercaseMapping.utf8 }
    case .stripAccents:
      Array(String(String.UnicodeScalarView(bytes[...].scalars.filter { !$0.isMark })).utf8)
    case .strip(let left, let right): Array(bytes[...].stripped(left: left, right: right))
    case .prepend(let text): bytes.isEmpty ? bytes : text + bytes
    case .replace(let pattern, let content): pattern.replacing(in: bytes, with: content)
    case .characterMap(let map): map.mapping(bytes)
    }
  }
}

extension JSONField {
  /// Most steps of one kind that a tokenizer may have.
  private static var stepCountMax: Int { 32 }
  /// Longest text that a step may insert, in bytes.
  private static var shortTextByteCountMax: Int { 64 }

  /// The steps of a component, those of a `Sequence` in its list `nested`; none where there is
  /// none.
  func steps<Step>(
    nested: String, _ read: (_ kind: String, JSONField) throws(TokenizerError) -> Step
  ) throws(TokenizerError) -> [Step] {
    guard isPresent else { return [] }
    let kind = try self["type"].string()
    var steps: [Step] = []
    if kind == "Sequence" {
      for field in try self[nested].elements() { steps += try field.steps(nested: nested, read) }
    } else {
      steps.append(try read(kind, self))
    }
    guard steps.count <= Self.stepCountMax else {
      throw malformed("more than \(Self.stepCountMax) steps")
    }
    return steps
  }

  /// A text that may be inserted many times.
  func shortText() throws(TokenizerError) -> [UInt8] {
    let bytes = Array(try string().utf8)
    guard bytes.count <= Self.shortTextByteCountMax else {
      throw malformed("a text of more than \(Self.shortTextByteCountMax) bytes")
    }
    return bytes
  }
}

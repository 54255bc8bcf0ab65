/// Spaces written as a visible character, which also begins the first word.
struct Metaspace: Sendable {
  enum Prepending: String, CaseIterable, Sendable {
    case always, first, never
  }

  let replacement: Unicode.Scalar
  let prepending: Prepending
  let isSplit: Bool

  /// Reads both forms: `prepend_scheme`, and the older `add_prefix_space`.
  init(_ field: JSONField) throws(TokenizerError) {
    replacement = try field["replacement"].scalar()
    isSplit = try field["split"].bool(default: true)
    let scheme = field["prepend_scheme"]
    if scheme.isPresent {
      let name = try scheme.string()
      guard let prepending = Prepending(rawValue: name) else {
        throw scheme.unsupported(
          "the scheme \(name)", known: Prepending.allCases.map(\.rawValue))
      }
      self.prepending = prepending
    } else {
      prepending = try field["add_prefix_space"].bool(default: true) ? .always : .never
    }
  }

  /// Rewrites every piece and cuts it before each replacement.
  func apply(to pieces: inout TextPieces) {
    let mark = Array(String(replacement).utf8)
    pieces.rewrite { bytes, isFirst, written in
      let hasMark = bytes.first == UInt8(ascii: " ") || bytes.starts(with: mark)
      if !hasMark, prepending == .always || (prepending == .first && isFirst) { written += mark }
      for byte in bytes {
        if byte == UInt8(ascii: " ") { written += mark } else { written.append(byte) }
      }
    }
    guard isSplit else { return }
    let pattern = TextPattern.literal(mark)
    pieces.split { bytes, range in
      SplitBehavior.mergedWithNext.pieces(of: range, matches: pattern.matches(in: bytes, range))
    }
  }

  /// The token as text; `isFirst` of those that are decoded.
  func text(_ token: String, isFirst: Bool) -> String {
    let text = token.unicodeScalars.compactMap { scalar -> Unicode.Scalar? in
      guard scalar == replacement else { return scalar }
      return isFirst && prepending != .never ? nil : " "
    }
    return String(String.UnicodeScalarView(text))
  }
}

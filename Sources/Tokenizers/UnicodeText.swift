/// The classes of scalars that tokenizers tell apart.
extension Unicode.Scalar {
  /// `\w` of a regular expression: letters, marks, decimal digits, connectors, joiners.
  var isWord: Bool {
    if isASCII { return properties.isAlphabetic || properties.numericType != nil || self == "_" }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
      return true
    default: return properties.isAlphabetic || properties.isJoinControl
    }
  }

  var isMark: Bool {
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark: true
    default: false
    }
  }

  var isNumber: Bool {
    switch properties.generalCategory {
    case .decimalNumber, .letterNumber, .otherNumber: true
    default: false
    }
  }

  /// Punctuation of Unicode, and the symbols of ASCII.
  var isPunctuation: Bool {
    if isASCII { return (0x21...0x7E).contains(value) && !isWordOfASCII }
    switch properties.generalCategory {
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
      .initialPunctuation, .finalPunctuation, .otherPunctuation:
      return true
    default: return false
    }
  }

  private var isWordOfASCII: Bool { properties.isAlphabetic || properties.numericType != nil }

  var isSpace: Bool { properties.isWhitespace }
}

extension ArraySlice<UInt8> {
  /// The scalars of UTF-8.
  var scalars: String.UnicodeScalarView { String(decoding: self, as: UTF8.self).unicodeScalars }

  /// Without white space at the ends that are named.
  func stripped(left: Bool, right: Bool) -> ArraySlice<UInt8> {
    let scalars = scalars
    var (start, end) = (startIndex, endIndex)
    if left {
      start += scalars.prefix { $0.isSpace }.reduce(0) { $0 + UTF8.width($1) }
    }
    if right, start < end {
      end -= scalars.reversed().prefix { $0.isSpace }.reduce(0) { $0 + UTF8.width($1) }
    }
    return self[start..<end]
  }
}

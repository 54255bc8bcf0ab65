/// The tokenisation of NIST's mteval-v13a script, as sacreBLEU applies it: symbols stand alone,
/// periods and commas stand alone unless between digits, a hyphen after a digit stands alone.
///
/// Each rule is one pass of non-overlapping replacements from left to right, as by a regular
/// expression.
enum Mteval13a {
  static func tokens(_ line: String) -> [String] {
    var text = Array(" \(unescaped(line)) ".unicodeScalars)
    text = text.flatMap { isSymbol($0) ? [" ", $0, " "] : [$0] }
    text = replacingPairs(text) { a, b in
      !isDigit(a) && isPoint(b) ? [a, " ", b, " "] : nil
    }
    text = replacingPairs(text) { a, b in
      isPoint(a) && !isDigit(b) ? [" ", a, " ", b] : nil
    }
    text = replacingPairs(text) { a, b in
      isDigit(a) && b == "-" ? [a, " ", b, " "] : nil
    }
    return words(String(String.UnicodeScalarView(text)))
  }

  private static func unescaped(_ line: String) -> String {
    var text = line.replacing("<skipped>", with: "").replacing("-\n", with: "")
      .replacing("\n", with: " ")
    guard text.utf8.contains(0x26) else { return text }
    for (entity, plain) in [("&quot;", "\""), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">")] {
      text = text.replacing(entity, with: plain)
    }
    return text
  }

  /// ASCII punctuation without the apostrophe, comma, hyphen and period.
  private static func isSymbol(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar {
    case "{"..."~", "["..."`", " "..."&", "("..."+", ":"..."@", "/": true
    default: false
    }
  }
  private static func isPoint(_ scalar: Unicode.Scalar) -> Bool { scalar == "." || scalar == "," }
  private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }

  private static func replacingPairs(
    _ text: [Unicode.Scalar], _ replacement: (Unicode.Scalar, Unicode.Scalar) -> [Unicode.Scalar]?
  ) -> [Unicode.Scalar] {
    var result: [Unicode.Scalar] = []
    result.reserveCapacity(text.count)
    var i = 0
    while i < text.count {
      if i + 1 < text.count, let pair = replacement(text[i], text[i + 1]) {
        result += pair
        i += 2
      } else {
        result.append(text[i])
        i += 1
      }
    }
    return result
  }
}

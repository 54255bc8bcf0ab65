/// Which messages are sentences, and what they look like once cleaned.
///
/// Interface texts are full of placeholders, markup, paths and options, which a translator copies
/// and a model would learn to copy. Whatever shows a trace of them is left out.
package enum TextCleaning {
  package static let englishWordsMin = 4
  package static let englishCharactersMax = 600
  package static let translationCharactersMax = 900

  /// The English side, cleaned; nil when it is not a sentence to learn from.
  package static func english(_ raw: String) -> String? {
    let text = collapsed(withoutAccelerator(raw))
    guard text.unicodeScalars.count <= englishCharactersMax else { return nil }
    guard text.split(separator: " ").count >= englishWordsMin else { return nil }
    // Only on this side: another language may well write "10 %" for "ten percent".
    guard !text.utf8.contains(UInt8(ascii: "%")) else { return nil }
    guard !hasMarkup(text), !looksTechnical(Array(text.unicodeScalars)) else { return nil }
    return text
  }

  /// The translation of `english`, cleaned; nil when it is empty, too long, a copy, or has markup.
  package static func translation(_ raw: String, of english: String) -> String? {
    let text = collapsed(withoutAccelerator(raw))
    guard !text.isEmpty, text != english else { return nil }
    guard text.unicodeScalars.count <= translationCharactersMax else { return nil }
    return hasMarkup(text) ? nil : text
  }

  /// What two English texts share that differ in case, punctuation or white space only. The
  /// held-out split hashes this, so that near copies fall on the same side.
  package static func folded(_ english: String) -> String {
    var folded = String.UnicodeScalarView()
    for scalar in english.lowercased().unicodeScalars where isWord(scalar) { folded.append(scalar) }
    return String(folded)
  }

  /// White space of any kind and length becomes one space; none at the ends.
  package static func collapsed(_ text: String) -> String {
    var result = String.UnicodeScalarView()
    var gap = false
    for scalar in text.unicodeScalars {
      if scalar.properties.isWhitespace || scalar.properties.generalCategory == .control {
        gap = !result.isEmpty
      } else {
        if gap { result.append(" ") }
        gap = false
        result.append(scalar)
      }
    }
    return String(result)
  }

  /// Drops one `_` or `&` that marks the keyboard accelerator: before a letter, at the start of a
  /// word (but not that of an entity such as `&amp;`).
  private static func withoutAccelerator(_ text: String) -> String {
    guard text.utf8.contains(where: { $0 == 0x5f || $0 == 0x26 }) else { return text }
    var scalars = Array(text.unicodeScalars)
    for i in scalars.indices.dropLast() where scalars[i] == "_" || scalars[i] == "&" {
      guard scalars[i + 1].properties.isAlphabetic else { continue }
      guard i == 0 || scalars[i - 1].properties.isWhitespace else { continue }
      let word = scalars[(i + 1)...].prefix(while: isWord)
      guard word.endIndex == scalars.endIndex || scalars[word.endIndex] != ";" else { continue }
      scalars.remove(at: i)
      break
    }
    return String(String.UnicodeScalarView(scalars))
  }

  private static let markupCharacters = Set("{}<>\\|$~^#=@".utf8)

  /// Placeholders, tags, wiki links and addresses, in any language.
  private static func hasMarkup(_ text: String) -> Bool {
    if text.utf8.contains(where: markupCharacters.contains) { return true }
    return ["http:", "https:", "[[", "]]", "''"].contains { text.contains($0) }
  }

  /// `--option`, `name_with_underscores`, `&entity`, or a constant of six capitals or more.
  private static func looksTechnical(_ text: [Unicode.Scalar]) -> Bool {
    var capitals = 0
    var shouting = true
    for i in text.indices {
      let next = i + 1 < text.count ? text[i + 1] : " "
      let nextIsWord = isWord(next)
      switch text[i] {
      case "_" where nextIsWord || (i > 0 && isWord(text[i - 1])): return true
      case "&" where nextIsWord: return true
      case "-" where i > 0 && text[i - 1] == "-" && nextIsWord: return true
      default: break
      }
      if isWord(text[i]) {
        let capital = text[i] == "_" || ("A"..."Z").contains(text[i])
        shouting = shouting && capital
        capitals += 1
        if !nextIsWord && shouting && capitals >= 6 { return true }
      } else {
        (capitals, shouting) = (0, true)
      }
    }
    return false
  }

  /// A letter, digit or underscore, as `\w` of the usual regular expressions.
  private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
    if scalar.isASCII {
      switch scalar {
      case "a"..."z", "A"..."Z", "0"..."9", "_": return true
      default: return false
      }
    }
    return scalar.properties.isAlphabetic || scalar.properties.numericType != nil
  }
}

/// English segments and their translations, gathered from every source.
///
/// A segment is one cleaned English text; its number is the order of first appearance. The first
/// translation of a segment into a language is kept, later ones are duplicates.
package struct SegmentTable {
  package private(set) var english: [String] = []
  /// Language tag -> segment -> text. English is not in here.
  package private(set) var translations: [String: [Int: String]] = [:]
  private var numbers: [String: Int] = [:]

  package init() {}

  /// Adds `raw` as the translation of `english`, which is clean already.
  /// - Returns: whether it was kept.
  @discardableResult
  package mutating func add(_ raw: String, of english: String, language: String) -> Bool {
    guard let text = TextCleaning.translation(raw, of: english) else { return false }
    let known = numbers[english]
    if let known, translations[language]?[known] != nil { return false }
    let segment = known ?? self.english.count
    if known == nil {
      numbers[english] = segment
      self.english.append(english)
    }
    translations[language, default: [:]][segment] = text
    return true
  }

  /// Languages by number of segments, most first, ties by tag.
  package var languagesBySize: [String] {
    translations.keys.sorted { a, b in
      let (sizeA, sizeB) = (translations[a]?.count ?? 0, translations[b]?.count ?? 0)
      return sizeA != sizeB ? sizeA > sizeB : a < b
    }
  }
}

/// Which languages a reader should bother to open.
package enum LanguageFilter: Sendable {
  case all
  case only(Set<String>)

  func admits(_ tag: String) -> Bool {
    switch self {
    case .all: tag != LanguageTag.english
    case .only(let tags): tag != LanguageTag.english && tags.contains(tag)
    }
  }
}

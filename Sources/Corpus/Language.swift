/// The place of a language in a corpus. English is 0, the others follow by tag.
package struct LanguageIndex: Hashable, Comparable, Sendable {
  package let rawValue: Int

  package init(_ rawValue: Int) {
    precondition(rawValue >= 0, "a language has a place")
    self.rawValue = rawValue
  }

  package static let english = LanguageIndex(0)
  package static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

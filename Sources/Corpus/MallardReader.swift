import Foundation

/// Reads help pages in Mallard, an XML format for topics: `help/C/.../x.page` in English and the
/// file of the same name of each language. A page is used only where both files have the same
/// sequence of `p`, `title` and `desc` elements; these are then translations of each other, in
/// order.
package enum MallardReader {
  /// Adds every pair of blocks below `root` to `table`.
  /// - Returns: the number of segments kept.
  package static func read(
    _ root: String, languages: LanguageFilter, into table: inout SegmentTable
  ) throws(CorpusError) -> Int {
    let pages = try DirectoryWalk.files(below: root) { path in
      path.hasSuffix(".page") && path.contains("help/C/")
    }
    var locales: [String: [(tag: String, name: String)]] = [:]
    var kept = 0
    for page in pages {
      guard let split = page.range(of: "help/C/", options: .backwards) else { continue }
      let help = String(page[..<split.lowerBound] + "help")
      let name = page[split.upperBound...]
      let english = blocks(try DirectoryWalk.read(page))
      let cleaned = english.map { TextCleaning.english($0.text) }
      if locales[help] == nil { locales[help] = try localesByTag(in: help) }

      for locale in locales[help] ?? [] where languages.admits(locale.tag) {
        let path = "\(help)/\(locale.name)/\(name)"
        guard FileManager.default.fileExists(atPath: path) else { continue }
        let translated = blocks(try DirectoryWalk.read(path))
        guard translated.map(\.element) == english.map(\.element) else { continue }
        for (block, original) in zip(translated, cleaned) {
          guard let original else { continue }
          kept += table.add(block.text, of: original, language: locale.tag) ? 1 : 0
        }
      }
    }
    return kept
  }

  private static func localesByTag(
    in help: String
  ) throws(CorpusError) -> [(tag: String, name: String)] {
    try DirectoryWalk.children(of: help).compactMap { name in
      LanguageTag.canonical(name).map { (tag: $0, name: name) }
    }
  }

  /// The blocks of a page in document order; none when it is not well-formed XML or needs entities of
  /// its own. Inline elements lend their text to the block around them.
  static func blocks(_ page: Data) -> [MallardBlock] {
    guard var events = XMLEvents(page) else { return [] }
    var blocks: [MallardBlock] = []
    var open: [Int] = []
    while let event = events.next() {
      switch event {
      case .start(let name) where names.contains(name):
        open.append(blocks.count)
        blocks.append(MallardBlock(element: name))
      case .end(let name) where names.contains(name): open.removeLast()
      case .text(let text): if let block = open.last { blocks[block].text += text }
      default: continue
      }
    }
    return events.isWellFormed ? blocks : []
  }

  private static let names: Set<String> = ["p", "title", "desc"]
}

/// One element that holds running text, with that text as written.
struct MallardBlock: Equatable {
  let element: String
  var text = ""
}

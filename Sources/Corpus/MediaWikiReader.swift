import Foundation

/// Reads MediaWiki's messages: `i18n/.../en.json` and its siblings `xx.json`, each one JSON object
/// from message id to text (and `@metadata`). Messages of equal id are translations of each other.
package enum MediaWikiReader {
  /// Adds every message pair below `root` to `table`.
  /// - Returns: the number of segments kept.
  package static func read(
    _ root: String, languages: LanguageFilter, into table: inout SegmentTable
  ) throws(CorpusError) -> Int {
    let sources = try DirectoryWalk.files(below: root) { path in
      path.hasSuffix("/en.json") && path.split(separator: "/").contains("i18n")
    }
    var kept = 0
    for source in sources {
      let folder = String(source.dropLast("/en.json".count))
      let english = try messages(source).compactMapValues(TextCleaning.english)
      // Dictionaries have no order of their own; the table numbers segments as they come.
      let ids = english.keys.sorted()
      for (tag, file) in try siblings(in: folder) where languages.admits(tag) {
        let translated = try messages("\(folder)/\(file)")
        for id in ids {
          guard let text = translated[id], let original = english[id] else { continue }
          kept += table.add(text, of: original, language: tag) ? 1 : 0
        }
      }
    }
    return kept
  }

  /// The message files of a folder with their tags. Where several share a tag (zh, zh-cn, zh-hans)
  /// the one that is called like the tag comes first, and so wins.
  private static func siblings(in folder: String) throws(CorpusError) -> [(
    tag: String, file: String
  )] {
    let named = try DirectoryWalk.children(of: folder).compactMap { file -> (String, String)? in
      guard file.hasSuffix(".json") else { return nil }
      return LanguageTag.canonical(String(file.dropLast(5))).map { ($0, file) }
    }
    return named.sorted { a, b in
      a.0 != b.0 ? a.0 < b.0 : (rank(a.1, a.0), a.1) < (rank(b.1, b.0), b.1)
    }
  }

  private static func rank(_ file: String, _ tag: String) -> Int {
    file.dropLast(5).replacing("-", with: "_").lowercased() == tag.lowercased() ? 0 : 1
  }

  private static func messages(_ path: String) throws(CorpusError) -> [String: String] {
    let data = try DirectoryWalk.read(path)
    do {
      let object = try JSONSerialization.jsonObject(with: data) as? [String: Any]
      guard let object else { throw CocoaError(.fileReadCorruptFile) }
      return object.compactMapValues { $0 as? String }
    } catch {
      throw .unreadable(
        path: path, cause: "not a JSON object of messages; unpack the package again")
    }
  }
}

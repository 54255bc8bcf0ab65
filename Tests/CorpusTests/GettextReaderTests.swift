import Corpus
import Foundation
import TestSupport
import Testing

/// A compiled catalogue of these messages, in either byte order.
private func catalogue(
  _ messages: [(String, String)], isSwapped: Bool = false
) -> [UInt8] {
  func word(_ value: Int) -> [UInt8] {
    let bytes = (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    return isSwapped ? bytes.reversed() : bytes
  }
  let all = [("", "Content-Type: text/plain; charset=UTF-8\n")] + messages
  let (originals, translations) = (28, 28 + 8 * all.count)
  var place = translations + 8 * all.count
  var (tables, texts) = ([[UInt8]](repeating: [], count: 2), [UInt8]())
  for (table, text) in all.map({ (0, $0.0) }) + all.map({ (1, $0.1) }) {
    tables[table] += word(text.utf8.count) + word(place)
    texts += Array(text.utf8) + [0]
    place += text.utf8.count + 1
  }
  let header = [0x9504_12de, 0, all.count, originals, translations, 0, 0].flatMap(word)
  return header + tables[0] + tables[1] + texts
}

@Suite struct GettextReaderTests {
  private let directory: TemporaryDirectory
  private static let messages = [
    ("Open the selected file", "Die gewählte Datei öffnen"),
    ("menu\u{4}Close all open windows", "Alle offenen Fenster schließen"),
    ("Delete one old file\0Delete %d old files here", "Eine löschen\0Viele löschen"),
    (
      "Move the file to another place\0Move the files to another place", "Eine\0Die Dateien bewegen"
    ),
    ("Too short", "Zu kurz"), ("Nobody translated this one", ""),
  ]

  init() throws { directory = try TemporaryDirectory() }

  private func write(_ bytes: [UInt8], _ name: String) throws {
    let url = URL(fileURLWithPath: directory.path + "/" + name)
    try FileManager.default.createDirectory(
      at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
  }

  private func read(_ filter: LanguageFilter = .all) throws -> SegmentTable {
    var table = SegmentTable()
    _ = try GettextReader.read(directory.path, languages: filter, into: &table)
    return table
  }

  /// Contexts go, of plurals the forms for many stay, what is no sentence or not translated is left out.
  @Test(arguments: [false, true]) func messagesAreRead(_ isSwapped: Bool) throws {
    try write(
      catalogue(Self.messages, isSwapped: isSwapped), "usr/share/locale/de/LC_MESSAGES/x.mo")
    let table = try read()
    #expect(
      table.english == [
        "Open the selected file", "Close all open windows", "Move the files to another place",
      ])
    #expect(
      table.translations == [
        "de": [
          0: "Die gewählte Datei öffnen", 1: "Alle offenen Fenster schließen",
          2: "Die Dateien bewegen",
        ]
      ])
  }

  @Test func languagesAreThoseOfThePath() throws {
    #expect(GettextReader.language(of: "/a/locale/pt_BR/LC_MESSAGES/git.mo") == "pt_BR")
    #expect(GettextReader.language(of: "/a/locale/sr@latin/LC_MESSAGES/git.mo") == "sr_Latn")
    #expect(GettextReader.language(of: "/a/languages/admin-network-de_DE.mo") == "de")
    #expect(GettextReader.language(of: "/a/languages/fr_FR.mo") == "fr")
    #expect(GettextReader.language(of: "/a/locale/en_GB/LC_MESSAGES/git.mo") == nil)
    try write(catalogue(Self.messages), "locale/de/LC_MESSAGES/x.mo")
    #expect(try read(.only(["fr"])).english.isEmpty)
  }

  /// Cut anywhere, and with any byte of its tables changed, a file is refused or read, and never more.
  @Test func damagedFilesAreNamed() throws {
    let whole = catalogue(Self.messages)
    var refused = 0
    for length in 0..<whole.count {
      try write(Array(whole[..<length]), "locale/de/LC_MESSAGES/x.mo")
      do { _ = try read() } catch CorpusError.unreadable(let path, _) {
        #expect(path.hasSuffix("x.mo"))
        refused += 1
      }
    }
    #expect(refused > whole.count - 8, "texts lie at the end, in order")
    for place in 0..<28 + 16 * (Self.messages.count + 1) {
      var bytes = whole
      bytes[place] ^= 0x81
      try write(bytes, "locale/de/LC_MESSAGES/x.mo")
      do { _ = try read() } catch CorpusError.unreadable {}
    }
  }
}

import Foundation

/// Reads gettext's compiled catalogues: `LOCALE/LC_MESSAGES/*.mo`, and WordPress' `languages/*-LOCALE.mo`.
package enum GettextReader {
  /// Adds every message pair below `root` to `table`.
  /// - Returns: the number of segments kept.
  /// - Throws: `CorpusError.unreadable` for a file that is no catalogue.
  package static func read(
    _ root: String, languages: LanguageFilter, into table: inout SegmentTable
  ) throws(CorpusError) -> Int {
    let files = try DirectoryWalk.files(below: root) { $0.hasSuffix(".mo") }
    var kept = 0
    for file in files {
      guard let tag = language(of: file), languages.admits(tag) else { continue }
      for message in try Catalogue(DirectoryWalk.read(file), path: file).messages {
        guard let english = TextCleaning.english(message.original) else { continue }
        kept += table.add(message.translation, of: english, language: tag) ? 1 : 0
      }
    }
    return kept
  }

  /// What the path says: the directory above `LC_MESSAGES`, or the end of the name, which begins with
  /// what part of a program it is of (`admin-network-de_DE.mo`). nil for variants of English.
  package static func language(of path: String) -> String? {
    let parts = path.split(separator: "/")
    if let place = parts.lastIndex(of: "LC_MESSAGES"), place > 0 {
      return LanguageTag.canonical(String(parts[place - 1]))
    }
    let locale = (parts.last ?? "").dropLast(".mo".count).split(separator: "-").last
    return locale.flatMap { LanguageTag.canonical(String($0)) }
  }
}

/// A compiled catalogue (GNU gettext manual, "The format of GNU MO files"): a magic number in the byte
/// order of the file, then of so many originals and as many translations length and place, and their
/// texts, which zeros end.
private struct Catalogue {
  let messages: [(original: String, translation: String)]

  private static let magic: UInt32 = 0x9504_12de
  private static let headerBytes = 20
  /// Between a context and its message.
  private static let contextEnd = UInt8(4)

  init(_ data: Data, path: String) throws(CorpusError) {
    let bytes = [UInt8](data)
    func word(_ offset: Int, swapped: Bool) -> Int? {
      guard offset >= 0, offset + 4 <= bytes.count else { return nil }
      let value = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
      return Int(swapped ? value.byteSwapped : value)
    }
    let damaged = CorpusError.unreadable(
      path: path, cause: "not a catalogue of messages (.mo); unpack the package again")
    let isSwapped = word(0, swapped: false) != Int(Self.magic)
    guard word(0, swapped: isSwapped) == Int(Self.magic),
      let count = word(8, swapped: isSwapped), let originals = word(12, swapped: isSwapped),
      let translations = word(16, swapped: isSwapped),
      count <= bytes.count / 16, bytes.count >= Self.headerBytes
    else { throw damaged }
    func text(_ table: Int, _ index: Int) -> ArraySlice<UInt8>? {
      guard let length = word(table + 8 * index, swapped: isSwapped),
        let start = word(table + 8 * index + 4, swapped: isSwapped), length <= bytes.count,
        start <= bytes.count - length
      else { return nil }
      return bytes[start..<start + length]
    }
    var messages: [(original: String, translation: String)] = []
    for index in 0..<count {
      guard let original = text(originals, index), let translation = text(translations, index)
      else { throw damaged }
      // The empty message is the header. Texts that are no UTF-8 are left out.
      guard !original.isEmpty, let message = Self.message(original, translation) else { continue }
      messages.append(message)
    }
    self.messages = messages
  }

  /// Of a plural the last forms of both: what is said of many.
  private static func message(
    _ original: ArraySlice<UInt8>, _ translation: ArraySlice<UInt8>
  ) -> (original: String, translation: String)? {
    let bare = original.firstIndex(of: contextEnd).map { original[($0 + 1)...] } ?? original
    let forms = bare.split(separator: 0, omittingEmptySubsequences: false)
    let translated = translation.split(separator: 0, omittingEmptySubsequences: false)
    guard let many = forms.last, let last = translated.last,
      let english = String(validating: many, as: UTF8.self),
      let text = String(validating: last, as: UTF8.self)
    else { return nil }
    return (english, text)
  }
}

import Foundation

/// The normalisation forms of Unicode, by Foundation and around three faults of it.
///
/// Marks stay out of order where a character of combining class 0 decomposes into marks: such text
/// goes through it again. A mark after a selector of plane 14 is composed with it as if that were
/// of plane 0, and decomposing takes time by the square of the length: text goes through it in
/// parts.
///
/// Characters that came after Unicode 11 stay as they are in the tokenizers of the checkpoints, and
/// are normalised here.
enum UnicodeForm {
  /// NFC, or decomposed NFD.
  static func canonical(_ bytes: [UInt8], isComposed: Bool) -> [UInt8] {
    // Below the first combining mark, U+0300, all text is in form C; in ASCII it is in every form.
    if bytes.allSatisfy({ $0 < (isComposed ? 0xCC : 0x80) }) { return bytes }
    return mapParts(bytes) { part in
      let text = hasTibetanVowels(part.utf8) ? part.decomposedStringWithCanonicalMapping : part
      return isComposed
        ? text.precomposedStringWithCanonicalMapping : text.decomposedStringWithCanonicalMapping
    }
  }

  /// NFKC, or decomposed NFKD.
  static func compatibility(_ bytes: [UInt8], isComposed: Bool) -> [UInt8] {
    if bytes.allSatisfy({ $0 < 0x80 }) { return bytes }
    return mapParts(bytes) { part in
      let text = part.decomposedStringWithCompatibilityMapping.decomposedStringWithCanonicalMapping
      return isComposed ? text.precomposedStringWithCanonicalMapping : text
    }
  }

  /// A part of this length ends where it may.
  private static let partByteCount = 1024

  /// Maps parts of the text, which begin where no mark and nothing that composes with what comes
  /// before can be: at ASCII, and at U+4000 to U+9FFF, ideographs. Characters of planes 12 to 15
  /// stay as they are: they have no other form.
  private static func mapParts(_ bytes: [UInt8], _ map: (String) -> String) -> [UInt8] {
    var mapped: [UInt8] = []
    mapped.reserveCapacity(bytes.count)
    var (start, index) = (0, 0)
    func endPart(_ end: Int) {
      if start < end { mapped += map(String(decoding: bytes[start..<end], as: UTF8.self)).utf8 }
      start = end
    }
    while index < bytes.count {
      let width = bytes.characterWidth(at: index)
      switch bytes[index] {
      case ..<0x80, 0xE4...0xE9: if index - start >= partByteCount { endPart(index) }
      case 0xF3:
        endPart(index)
        mapped += bytes[index..<index + width]
        start = index + width
      default: break
      }
      index += width
    }
    endPart(bytes.count)
    return mapped
  }

  /// Whether U+0F73, U+0F75 or U+0F81 may be in the text: no other character of class 0 decomposes
  /// canonically into marks alone, but U+0344, whose are of one class.
  private static func hasTibetanVowels(_ bytes: String.UTF8View) -> Bool {
    zip(bytes, bytes.dropFirst()).contains { $0 == 0xE0 && ($1 == 0xBD || $1 == 0xBE) }
  }
}

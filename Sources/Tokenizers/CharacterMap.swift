import Foundation

/// The normalisation that SentencePiece compiles into its models: a double array of prefixes, and
/// the texts that its leaves point to.
///
/// The bytes are, little-endian: the size of the double array in bytes (UInt32), its units (UInt32
/// each), and texts of UTF-8, each ended by a zero. A unit has the label of the byte that leads to
/// it in bits 0 to 7, "has a leaf" in bit 8, and the distance to its children in bits 10 to 30, in
/// steps of 256 if bit 9 is set; a leaf has bit 31 set and the offset of its text in the others.
struct CharacterMap: Sendable {
  private let units: [UInt32]
  private let texts: [UInt8]

  /// Longest text of one entry, in bytes: U+FDFA, the longest of Unicode, becomes 33.
  private static let textByteCountMax = 64

  init(_ field: JSONField) throws(TokenizerError) {
    guard let data = Data(base64Encoded: try field.string()) else {
      throw field.malformed("not base64")
    }
    guard let map = CharacterMap([UInt8](data)) else {
      throw field.malformed("a character map whose sizes do not add up")
    }
    self = map
  }

  init?(_ bytes: [UInt8]) {
    func word(_ offset: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
    }
    guard bytes.count >= 4 else { return nil }
    let size = Int(word(0))
    guard size > 0, size % 4 == 0, size <= bytes.count - 4 else { return nil }
    units = stride(from: 4, to: 4 + size, by: 4).map(word)
    texts = Array(bytes[(4 + size)...])
    guard texts.isEmpty || texts.last == 0 else { return nil }
  }

  /// Whether no search leaves the map, whatever the text, and all that it finds is text. Readers that
  /// do not look, such as SentencePiece, need this.
  var isSound: Bool {
    // The first unit is where every search begins, whatever it says.
    for (index, unit) in units.enumerated() where index == 0 || unit & 1 << 31 == 0 {
      let node = index ^ offset(unit)
      guard node | 0xFF < units.count else { return false }
      let value = Int(units[node] & ~(1 << 31))
      if unit & 1 << 8 != 0, value >= texts.count { return false }
    }
    return String(validating: texts, as: UTF8.self) != nil
  }

  /// What the shortest entry that begins `bytes` becomes; nil without one. An entry that points out
  /// of the map counts as none.
  func replacement(of bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    var node = offset(units[0])
    for byte in bytes {
      if byte == 0 { return nil }
      node ^= Int(byte)
      guard units.indices.contains(node) else { return nil }
      let unit = units[node]
      guard unit & (1 << 31 | 0xFF) == UInt32(byte) else { return nil }
      node ^= offset(unit)
      guard units.indices.contains(node) else { return nil }
      if unit & 1 << 8 != 0 { return text(at: Int(units[node] & ~(1 << 31))) }
    }
    return nil
  }

  private func offset(_ unit: UInt32) -> Int { Int((unit >> 10) << ((unit & 1 << 9) >> 6)) }

  private func text(at start: Int) -> ArraySlice<UInt8>? {
    guard start < texts.count else { return nil }
    let text = texts[start...].prefix { $0 != 0 }.prefix(Self.textByteCountMax)
    return String(validating: text, as: UTF8.self) == nil ? nil : text
  }

  /// The text with its grapheme clusters mapped, or where a cluster has no entry, its scalars. A
  /// cluster of six bytes or more is taken by scalars at once: the tokenizers of the checkpoints do
  /// so.
  func mapping(_ bytes: [UInt8]) -> [UInt8] {
    var mapped: [UInt8] = []
    mapped.reserveCapacity(bytes.count)
    var start = 0
    for character in String(decoding: bytes, as: UTF8.self) {
      let end = start + character.utf8.count
      if end - start < 6, let text = replacement(of: bytes[start..<end]) {
        mapped += text
        start = end
        continue
      }
      for scalar in character.unicodeScalars {
        let part = bytes[start..<start + UTF8.width(scalar)]
        mapped += replacement(of: part) ?? part
        start = part.endIndex
      }
    }
    return mapped
  }
}

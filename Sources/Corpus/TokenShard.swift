package import Foundation

/// Tokens of many segments in many languages: one side (training or held out) of a corpus.
///
/// A cell is one segment in one language; an absent translation is an empty cell. The file, all
/// integers little-endian:
///
///     offset  bytes        content
///     0       8            "PAGODASH"
///     8       4            format version, 1
///     12      4            L, languages
///     16      4            S, segments
///     20      4            0
///     24      8            T, tokens
///     32      4 (L S + 1)  where the tokens of cell l S + s (language l, segment s) begin; they
///                          end where the next cell begins; the last entry is T
///     ...     2 T          the tokens, 16 bits each
///
/// Reading holds the whole file in memory: `residentBytes`.
package struct TokenShard: Equatable, Sendable {
  package let languageCount: Int
  package let segmentCount: Int
  private let starts: [UInt32]
  private let tokens: [UInt16]

  private static let magic = Array("PAGODASH".utf8)
  private static let version: UInt32 = 1
  private static let headerBytes = 32

  /// Packs `cells[language][segment]`.
  package init(cells: [[[UInt16]]], segmentCount: Int) {
    precondition(cells.allSatisfy { $0.count == segmentCount }, "every language has every cell")
    var starts: [UInt32] = [0]
    var tokens: [UInt16] = []
    starts.reserveCapacity(cells.count * segmentCount + 1)
    for cell in cells.joined() {
      tokens.append(contentsOf: cell)
      precondition(tokens.count <= UInt32.max, "a shard counts its tokens in 32 bits")
      starts.append(UInt32(tokens.count))
    }
    self.init(
      languageCount: cells.count, segmentCount: segmentCount, starts: starts, tokens: tokens)
  }

  private init(languageCount: Int, segmentCount: Int, starts: [UInt32], tokens: [UInt16]) {
    self.languageCount = languageCount
    self.segmentCount = segmentCount
    self.starts = starts
    self.tokens = tokens
  }

  package var tokenCount: Int { tokens.count }
  package var residentBytes: Int { starts.count * 4 + tokens.count * 2 }

  /// The tokens of a cell; none when the segment has no translation into the language.
  package func tokens(_ segment: Int, _ language: LanguageIndex) -> ArraySlice<UInt16> {
    let cell = cell(segment, language)
    return tokens[Int(starts[cell])..<Int(starts[cell + 1])]
  }

  /// The number of tokens of a cell; 0 when it is absent.
  package func count(_ segment: Int, _ language: LanguageIndex) -> Int {
    let cell = cell(segment, language)
    return Int(starts[cell + 1] - starts[cell])
  }

  /// The number of tokens of a whole language.
  package func tokenCount(_ language: LanguageIndex) -> Int {
    let first = language.rawValue * segmentCount
    return Int(starts[first + segmentCount] - starts[first])
  }

  /// The segments that exist in both languages, in order.
  package func segments(_ a: LanguageIndex, and b: LanguageIndex) -> [Int] {
    (0..<segmentCount).filter { count($0, a) > 0 && count($0, b) > 0 }
  }

  private func cell(_ segment: Int, _ language: LanguageIndex) -> Int {
    precondition(0 <= segment && segment < segmentCount, "a segment of this shard")
    precondition(language.rawValue < languageCount, "a language of this corpus")
    return language.rawValue * segmentCount + segment
  }
}

extension TokenShard {
  /// The bytes of the file.
  package var encoded: Data {
    var data = Data(Self.magic)
    for word in [Self.version, UInt32(languageCount), UInt32(segmentCount), 0] {
      data.append(littleEndian: word)
    }
    data.append(littleEndian: UInt64(tokens.count))
    for start in starts { data.append(littleEndian: start) }
    for token in tokens { data.append(littleEndian: token) }
    return data
  }

  /// Reads the bytes of the file `path`.
  /// - Throws: `CorpusError.damaged` for anything but a whole shard of this version whose tokens
  ///   are all below `vocabularySize`.
  package init(decoding data: Data, path: String, vocabularySize: Int) throws(CorpusError) {
    func damage(_ offset: Int, _ cause: String) -> CorpusError {
      .damaged(path: path, offset: offset, cause: cause)
    }
    guard data.count >= Self.headerBytes else {
      throw damage(data.count, "the file ends inside its header")
    }
    guard data.prefix(8).elementsEqual(Self.magic) else { throw damage(0, "not a token shard") }
    let version: UInt32 = data.littleEndian(at: 8)
    guard version == Self.version else { throw damage(8, "format version \(version), not 1") }

    let languages = Int(data.littleEndian(at: 12) as UInt32)
    let segments = Int(data.littleEndian(at: 16) as UInt32)
    let total: UInt64 = data.littleEndian(at: 24)
    guard total <= UInt32.max else { throw damage(24, "\(total) tokens are not possible") }
    // The product of two such numbers need not be one.
    guard languages == 0 || segments <= data.count / 4 / languages else {
      throw damage(12, "\(languages) languages of \(segments) segments in \(data.count) bytes")
    }
    let tokensAt = Self.headerBytes + 4 * (languages * segments + 1)
    let expected = tokensAt + 2 * Int(total)
    guard data.count == expected else {
      throw damage(min(data.count, expected), "\(data.count) bytes where \(expected) are due")
    }

    let starts: [UInt32] = data.array(at: Self.headerBytes, count: languages * segments + 1)
    guard starts.first == 0, starts.last == UInt32(total) else {
      throw damage(Self.headerBytes, "the table of cells does not span the tokens")
    }
    for i in starts.indices.dropFirst() where starts[i] < starts[i - 1] {
      throw damage(Self.headerBytes + 4 * i, "the table of cells runs backwards")
    }
    let tokens: [UInt16] = data.array(at: tokensAt, count: Int(total))
    if let i = tokens.firstIndex(where: { Int($0) >= vocabularySize }) {
      throw damage(tokensAt + 2 * i, "token \(tokens[i]) of a vocabulary of \(vocabularySize)")
    }
    self.init(languageCount: languages, segmentCount: segments, starts: starts, tokens: tokens)
  }
}

extension Data {
  fileprivate mutating func append(littleEndian value: some FixedWidthInteger) {
    unsafe Swift.withUnsafeBytes(of: value.littleEndian) { unsafe append(contentsOf: $0) }
  }

  fileprivate func littleEndian<T: FixedWidthInteger>(at offset: Int) -> T {
    T(
      littleEndian: unsafe withUnsafeBytes {
        unsafe $0.loadUnaligned(fromByteOffset: offset, as: T.self)
      })
  }

  fileprivate func array<T: FixedWidthInteger>(at offset: Int, count: Int) -> [T] {
    unsafe withUnsafeBytes { bytes in
      (0..<count).map { i in
        T(
          littleEndian: unsafe bytes.loadUnaligned(
            fromByteOffset: offset + i * MemoryLayout<T>.size, as: T.self))
      }
    }
  }
}

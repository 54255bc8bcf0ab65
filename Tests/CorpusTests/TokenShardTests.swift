import Corpus
import Foundation
import Testing

private let cells: [[[UInt16]]] = [[[1, 2, 3], [], [4]], [[7], [8, 599], []]]

private func damage(_ data: Data) -> CorpusError? {
  do {
    _ = try TokenShard(decoding: data, path: "x.bin", vocabularySize: 600)
    return nil
  } catch {
    return error
  }
}

@Test func shardsSurviveTheirFile() throws {
  let shard = TokenShard(cells: cells, segmentCount: 3)
  let again = try TokenShard(decoding: shard.encoded, path: "x.bin", vocabularySize: 600)
  #expect(again == shard)
  #expect(again.tokenCount == 7)
  #expect(again.residentBytes == 7 * 4 + 7 * 2)
  for (l, language) in cells.enumerated() {
    for (s, cell) in language.enumerated() {
      #expect(Array(again.tokens(s, LanguageIndex(l))) == cell)
      #expect(again.count(s, LanguageIndex(l)) == cell.count)
    }
  }
  #expect(again.segments(LanguageIndex(0), and: LanguageIndex(1)) == [0])
  #expect(again.tokenCount(LanguageIndex(1)) == 3)
}

@Test func theFormatIsAsDocumented() {
  let data = TokenShard(cells: cells, segmentCount: 3).encoded
  #expect(data.count == 32 + 4 * 7 + 2 * 7)
  #expect(
    Array(data.prefix(32)) == Array("PAGODASH".utf8) + [
      1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,
    ])
  #expect(Array(data[32..<44]) == [0, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0])
  #expect(Array(data.suffix(4)) == [8, 0, 0x57, 0x02])
}

@Test func everyTruncationIsRefused() {
  let data = TokenShard(cells: cells, segmentCount: 3).encoded
  for length in 0..<data.count { #expect(damage(data.prefix(length)) != nil, "\(length) bytes") }
  #expect(damage(data + [0]) != nil)
}

/// (offset, byte to put there, offset that the error names)
@Test(arguments: [(0, 1, 0), (8, 2, 8), (32, 1, 32), (40, 1, 40), (72, 0x58, 72), (30, 1, 24)])
func damageIsNamedByOffset(_ offset: Int, _ byte: UInt8, _ named: Int) {
  var data = TokenShard(cells: cells, segmentCount: 3).encoded
  data[offset] = byte
  guard case .damaged(_, let found, _)? = damage(data) else {
    Issue.record("byte \(offset) was accepted")
    return
  }
  #expect(found == named)
}

@Test func moreCellsThanThereCanBeAreRefused() {
  var data = TokenShard(cells: cells, segmentCount: 3).encoded
  for offset in 12..<20 { data[offset] = 0xFF }
  guard case .damaged(_, 12, _)? = damage(data) else {
    Issue.record("accepted or damaged elsewhere")
    return
  }
}

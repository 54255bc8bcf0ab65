/// The records of a SentencePiece model, a message of Protocol Buffers: pieces (field 1), how it was
/// trained (2), how it normalises (3) and what it undoes of that (5). SentencePiece takes a file that
/// ends between two records for a whole model, and follows the maps of characters in 3 and 5 wherever
/// they point.
struct ModelRecords {
  struct Defect: Error {
    let offset: Int
    let cause: String
  }

  private let bytes: [UInt8]
  private var index: Int
  private let end: Int

  /// Checks what SentencePiece does not.
  static func check(_ bytes: [UInt8]) throws(Defect) {
    var fields: Set<UInt64> = []
    var records = ModelRecords(bytes: bytes, 0..<bytes.count)
    while let (field, range) = try records.next() {
      fields.insert(field)
      if field == 3 || field == 5 { try checkMap(bytes, range) }
    }
    guard fields.isSuperset(of: [1, 2, 3]) else {
      throw Defect(offset: bytes.count, cause: "its end is missing")
    }
  }

  /// The map is field 2 of a normalizer.
  private static func checkMap(_ bytes: [UInt8], _ range: Range<Int>) throws(Defect) {
    var records = ModelRecords(bytes: bytes, range)
    while let (field, range) = try records.next() {
      guard field == 2, !range.isEmpty else { continue }
      guard let map = CharacterMap(Array(bytes[range])), map.isSound else {
        throw Defect(offset: range.lowerBound, cause: "a character map that points out of itself")
      }
    }
  }

  private init(bytes: [UInt8], _ range: Range<Int>) {
    self.bytes = bytes
    (index, end) = (range.lowerBound, range.upperBound)
  }

  /// The next record, its field and where its value lies; nil at the end.
  private mutating func next() throws(Defect) -> (field: UInt64, range: Range<Int>)? {
    guard index < end else { return nil }
    let start = index
    guard let key = number(), let byteCount = valueByteCount(wireType: key & 7),
      byteCount <= end - index
    else { throw Defect(offset: start, cause: "a record that goes beyond the end") }
    defer { index += byteCount }
    return (key >> 3, index..<index + byteCount)
  }

  /// Bytes of the value of a record that are left to read.
  private mutating func valueByteCount(wireType: UInt64) -> Int? {
    switch wireType {
    case 0: number() == nil ? nil : 0
    case 1: 8
    case 2: number().flatMap(Int.init(exactly:))
    case 5: 4
    default: nil
    }
  }

  /// A number of seven bits per byte, the lowest first; the highest bit says that more come.
  private mutating func number() -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) where index < end {
      let byte = bytes[index]
      index += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    return nil
  }
}

/// The records of a SentencePiece model, a message of Protocol Buffers: pieces (field 1), how it was
/// trained (2), how it normalises (3), and others. SentencePiece takes a file that ends between two
/// records for a whole model.
enum ModelRecords {
  struct Defect {
    let offset: Int
    let cause: String
  }

  /// What is wrong with a file; nil when its records fill it and those that every model has are there.
  static func defect(of bytes: [UInt8]) -> Defect? {
    var fields: Set<UInt64> = []
    var index = 0
    while index < bytes.count {
      let start = index
      guard let key = number(bytes, &index), skip(wireType: key & 7, bytes, &index) else {
        return Defect(offset: start, cause: "a record that goes beyond the end")
      }
      fields.insert(key >> 3)
    }
    if fields.isSuperset(of: [1, 2, 3]) { return nil }
    return Defect(offset: bytes.count, cause: "its end is missing")
  }

  /// A number of seven bits per byte, the lowest first; the highest bit says that more come.
  private static func number(_ bytes: [UInt8], _ index: inout Int) -> UInt64? {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) where index < bytes.count {
      let byte = bytes[index]
      index += 1
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
    }
    return nil
  }

  /// Steps over the value of a record; false when it has no end.
  private static func skip(wireType: UInt64, _ bytes: [UInt8], _ index: inout Int) -> Bool {
    let left = UInt64(bytes.count - index)
    switch wireType {
    case 0: return number(bytes, &index) != nil
    case 1 where left >= 8: index += 8
    case 2:
      guard let length = number(bytes, &index), length <= UInt64(bytes.count - index) else {
        return false
      }
      index += Int(length)
    case 5 where left >= 4: index += 4
    default: return false
    }
    return true
  }
}

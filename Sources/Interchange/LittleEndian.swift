extension [UInt8] {
  /// The number of `byteCount` bytes at `offset`, least significant first; nil when it does not
  /// end in the array.
  func littleEndian(at offset: Int, byteCount: Int) -> UInt64? {
    guard offset >= 0, byteCount <= 8, byteCount <= count, offset <= count - byteCount else {
      return nil
    }
    return self[offset..<offset + byteCount].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// As `littleEndian`, of bytes that are known to be there and of a number that fits.
  func natural(at offset: Int, byteCount: Int) -> Int {
    precondition(byteCount <= 4, "a number of up to 32 bits")
    guard let value = littleEndian(at: offset, byteCount: byteCount) else {
      preconditionFailure("\(byteCount) bytes at \(offset) of \(count)")
    }
    return Int(value)
  }
}

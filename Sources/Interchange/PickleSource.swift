/// The bytes of a pickle, from the first to the last, with what follows an opcode.
struct PickleSource {
  private let bytes: [UInt8]
  private var index = 0
  /// Where the opcode that is run starts, for errors.
  private(set) var opcodeOffset = 0

  private static let stringByteCountMax = 1 << 16

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var isAtEnd: Bool { index == bytes.count }

  /// The next opcode, which is run from now on.
  mutating func opcode() throws(FormatDefect) -> UInt8 {
    opcodeOffset = index
    return UInt8(try natural(1))
  }

  /// A number of so many bytes, least significant first.
  mutating func natural(_ byteCount: Int) throws(FormatDefect) -> Int {
    guard let value = bytes.littleEndian(at: index, byteCount: byteCount) else {
      throw defect("a pickle without an end")
    }
    guard let natural = Int(exactly: value) else { throw defect("the number \(value)") }
    index += byteCount
    return natural
  }

  /// A count of bytes and so many, of a number with a sign.
  mutating func longInteger() throws(FormatDefect) -> Int {
    let byteCount = try natural(1)
    guard (1...8).contains(byteCount) else { throw defect("a number of \(byteCount) bytes") }
    guard let value = bytes.littleEndian(at: index, byteCount: byteCount) else {
      throw defect("a pickle without an end")
    }
    index += byteCount
    let unused = 64 - 8 * byteCount
    return Int(Int64(truncatingIfNeeded: value << unused) >> unused)
  }

  mutating func string(_ byteCount: Int) throws(FormatDefect) -> String {
    guard byteCount <= Self.stringByteCountMax else {
      throw defect("a string of \(byteCount) bytes, more than \(Self.stringByteCountMax)")
    }
    guard byteCount <= bytes.count - index else { throw defect("a pickle without an end") }
    defer { index += byteCount }
    guard let text = String(validating: bytes[index..<index + byteCount], as: UTF8.self) else {
      throw defect("a string that is not UTF-8")
    }
    return text
  }

  mutating func line() throws(FormatDefect) -> String {
    let rest = bytes[index...].prefix(Self.stringByteCountMax)
    guard let end = rest.firstIndex(of: UInt8(ascii: "\n")) else {
      throw defect("a name without an end")
    }
    let text = try string(end - index)
    index = end + 1
    return text
  }

  func defect(_ cause: String) -> FormatDefect {
    FormatDefect(offset: opcodeOffset, cause: cause)
  }

  func forbidden(_ opcode: UInt8, remedy: String) -> FormatDefect {
    let names: [UInt8: String] = [
      0x30: "POP", 0x31: "POP_MARK", 0x32: "DUP", 0x42: "BINBYTES", 0x43: "SHORT_BINBYTES",
      0x46: "FLOAT",
      0x47: "BINFLOAT", 0x49: "INT", 0x4C: "LONG",
      0x50: "PERSID", 0x53: "STRING", 0x54: "BINSTRING", 0x55: "SHORT_BINSTRING", 0x56: "UNICODE",
      0x5D: "EMPTY_LIST", 0x61: "APPEND", 0x64: "DICT", 0x65: "APPENDS", 0x67: "GET",
      0x69: "INST", 0x6C: "LIST", 0x6F: "OBJ", 0x70: "PUT", 0x81: "NEWOBJ", 0x82: "EXT1",
      0x83: "EXT2", 0x84: "EXT4", 0x8B: "LONG4", 0x8E: "BINBYTES8", 0x8F: "EMPTY_SET",
      0x90: "ADDITEMS", 0x91: "FROZENSET", 0x92: "NEWOBJ_EX", 0x96: "BYTEARRAY8",
      0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
    ]
    let code = "0x" + String(opcode, radix: 16)
    return FormatDefect(
      offset: opcodeOffset,
      cause: "a pickle with the opcode \(names[opcode].map { "\($0) (\(code))" } ?? code), which "
        + "dictionaries of tensors do not need",
      remedy: remedy)
  }
}

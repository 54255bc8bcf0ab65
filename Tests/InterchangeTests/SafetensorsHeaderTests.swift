import Interchange
import Testing

/// A file of `json` and so many bytes of tensors.
private func file(_ json: String, dataBytes: Int) -> [UInt8] { file(Array(json.utf8), dataBytes) }

private func file(_ json: [UInt8], _ dataBytes: Int) -> [UInt8] {
  (0..<8).map { UInt8(truncatingIfNeeded: json.count >> (8 * $0)) } + json
    + [UInt8](repeating: 0, count: dataBytes)
}

private func header(_ bytes: [UInt8]) throws(SafetensorsHeader.Defect) -> SafetensorsHeader {
  try SafetensorsHeader(start: bytes, fileBytes: bytes.count)
}

private let pair = """
  {"b":{"dtype":"F32","shape":[2,1],"data_offsets":[4,12]},
   "a":{"dtype":"I16","shape":[2],"data_offsets":[0,4]}}
  """

@Suite struct SafetensorsHeaderTests {
  @Test func tensorsComeInTheOrderOfTheFile() throws {
    let bytes = file(pair, dataBytes: 12)
    let header = try header(bytes)
    let start = bytes.count - 12
    #expect(header.entries.map(\.tensor.name) == ["a", "b"])
    #expect(header.entries.map(\.bytes) == [start..<start + 4, start + 4..<start + 12])
    #expect(header.entries[1].tensor.shape == [2, 1] && header.entries[1].tensor.type == .f32)
    #expect(header.metadata.isEmpty)
  }

  /// Every kind of malformed header, with words of what is said of it.
  @Test(arguments: [
    ("[]", 0, "`{`"),
    ("{ ", 0, "the end"),
    ("{} x", 0, "the end of the JSON"),
    (#"{"a":1}"#, 0, "`{`"),
    (#"{"a":{"dtype":"F32","shape":[1]}}"#, 4, "needs dtype, shape and two data_offsets"),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, 4,
      "needs dtype, shape and two data_offsets"
    ),
    (
      #"{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4,
      "unknown or there twice"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}"#, 4,
      "unknown or there twice"
    ),
    (#"{"a":{"dtype":"F12","shape":[1],"data_offsets":[0,4]}}"#, 4, "of type F12, none of"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4, "of shape [2] in F32 has 4"),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4, "outside the 4 bytes"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4, "outside the 4 bytes"),
    (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4, "a natural number"),
    (#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, 4, "`]`"),
    (#"{"a":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}"#, 4, "a leading zero"),
    (
      #"{"a":{"dtype":"F32","shape":[9223372036854775808],"data_offsets":[0,4]}}"#, 4,
      "a number above 2^63"
    ),
    (
      #"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, 4,
      "of shape [4294967296, 4294967296]"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"#
        + #""b":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}"#, 4, "bytes of another tensor"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#
        + #""b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#, 4, "bytes of no tensor before"
    ),
    (#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 4, "2 bytes after the last tensor"),
    (
      #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"#
        + #""a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#, 4, "`a` is there twice"
    ),
    (#"{"__metadata__":{"x":"1","x":"2"}}"#, 0, "`x` is there twice"),
    (#"{"__metadata__":{"x":{"y":"2"}}}"#, 0, "`\"`"),
    (#"{"a\q":{}}"#, 0, "an unknown escape"),
    (#"{"a\ud800":{}}"#, 0, "half a surrogate pair"),
    (#"{"a\udc00":{}}"#, 0, "half a surrogate pair"),
    (#"{"a\u00g0":{}}"#, 0, "a hexadecimal digit"),
    ("{\"a\n\":{}}", 0, "a control character"),
    ("{\"a", 0, "a string without an end"),
  ])
  func malformedHeadersAreRefused(_ json: String, _ dataBytes: Int, _ cause: String) {
    let defect = #expect(throws: SafetensorsHeader.Defect.self) {
      try header(file(json, dataBytes: dataBytes))
    }
    #expect(defect?.cause.contains(cause) == true, "\(String(describing: defect))")
  }

  @Test func textThatIsNotUTF8IsRefused() {
    let json: [UInt8] = Array("{\"a".utf8) + [0xC3, 0x28] + Array("\":{}}".utf8)
    let defect = #expect(throws: SafetensorsHeader.Defect.self) { try header(file(json, 0)) }
    #expect(defect?.cause.contains("not UTF-8") == true)
  }

  @Test(arguments: [
    ([], "0 bytes are no safetensors file"), ([2, 0, 0, 0, 0, 0, 0], "7 bytes"),
    ([0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 123, 125], "18446744073709551615"),
    ([0, 0, 0, 0, 1, 0, 0, 0, 123, 125], "4294967296"),
    ([3, 0, 0, 0, 0, 0, 0, 0, 123, 125], "a header of 3 bytes in a file of 10"),
    ([0, 0, 0, 0, 0, 0, 0, 0], "a header of 0 bytes"),
  ])
  func absurdSizesAreRefused(_ bytes: [UInt8], _ cause: String) {
    let defect = #expect(throws: SafetensorsHeader.Defect.self) { try header(bytes) }
    #expect(defect?.cause.contains(cause) == true, "\(String(describing: defect))")
  }

  /// Brackets are no way to exhaust the stack.
  @Test func deepNestingIsRefusedAtTheFirstLevel() {
    for text in [
      "{\"a\":" + String(repeating: "[", count: 1 << 20), String(repeating: "{", count: 99),
    ] {
      #expect(throws: SafetensorsHeader.Defect.self) { try header(file(text, dataBytes: 0)) }
    }
  }

  /// Cut short and with every byte changed: an error or a header, never a trap.
  @Test func damagedHeadersNeverTrap() throws {
    let whole = file(pair, dataBytes: 12)
    for count in 0..<whole.count {
      #expect(throws: SafetensorsHeader.Defect.self) { try header(Array(whole[..<count])) }
    }
    var accepted = 0
    for index in whole.indices {
      for value in [0, 1, 0x22, 0x2C, 0x39, 0x5C, 0x7B, 0x7D, 0x80, 0xFF] as [UInt8] {
        var bytes = whole
        bytes[index] = value
        if (try? header(bytes)) != nil { accepted += 1 }
      }
    }
    // Names and the tensors themselves may be anything.
    #expect(accepted >= 120 && accepted < whole.count * 10)
  }
}

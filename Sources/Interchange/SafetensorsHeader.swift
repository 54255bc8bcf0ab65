/// What the first bytes of a safetensors file say of the rest.
///
///     u64 n, little-endian | n bytes of JSON | the tensors, back to back
///
/// The JSON is one object: `__metadata__` (an object of strings) and for each tensor its name with
/// {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, in bytes after the JSON.
package struct SafetensorsHeader: Sendable {
  /// One tensor and where it lies, in bytes from the start of the file.
  package struct Entry: Hashable, Sendable {
    package let tensor: SafetensorsTensor
    package let bytes: Range<Int>
  }

  package typealias Defect = FormatDefect

  /// In the order in which they lie in the file.
  package let entries: [Entry]
  package let metadata: [String: String]

  /// Bytes of the number that every file starts with.
  package static let prefixByteCount = 8
  /// The largest header that the format's own library reads.
  package static let byteCountMax = 100_000_000

  /// The bytes that number and JSON take together.
  /// - Parameters:
  ///   - start: the first bytes of the file, eight at least unless it is shorter.
  ///   - fileBytes: the size of the file.
  package static func byteCount(start: [UInt8], fileBytes: Int) throws(Defect) -> Int {
    guard start.count >= prefixByteCount, fileBytes >= prefixByteCount else {
      throw Defect(offset: 0, cause: "\(min(start.count, fileBytes)) bytes are no safetensors file")
    }
    let length = start.prefix(prefixByteCount).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    guard length <= UInt64(byteCountMax) else {
      throw Defect(
        offset: 0, cause: "a header of \(length) bytes, more than \(byteCountMax): no safetensors")
    }
    guard length >= 2, Int(length) <= fileBytes - prefixByteCount else {
      throw Defect(
        offset: 0, cause: "a header of \(length) bytes in a file of \(fileBytes)")
    }
    return prefixByteCount + Int(length)
  }

  /// Parses and checks everything that can be checked without the tensors: every type is known,
  /// sizes follow from shapes, and the tensors fill the file without gap or overlap. Never traps,
  /// whatever the bytes.
  /// - Parameters:
  ///   - start: the first bytes of the file, with the whole header.
  ///   - fileBytes: the size of the file.
  package init(start: [UInt8], fileBytes: Int) throws(Defect) {
    let end = try Self.byteCount(start: start, fileBytes: fileBytes)
    guard start.count >= end else {
      throw Defect(offset: start.count, cause: "the header ends at \(end)")
    }
    var json = JSONScanner(bytes: start, range: Self.prefixByteCount..<end)
    var parsed = try Parsed(&json, dataStart: end, fileBytes: fileBytes)
    try json.end()
    parsed.entries.sort {
      ($0.bytes.lowerBound, $0.bytes.upperBound) < ($1.bytes.lowerBound, $1.bytes.upperBound)
    }
    try Self.checkCover(parsed.entries, dataStart: end, fileBytes: fileBytes)
    entries = parsed.entries
    metadata = parsed.metadata
  }

  /// - Throws: when the tensors, in ascending order, leave a gap, overlap or end before the file.
  private static func checkCover(
    _ entries: [Entry], dataStart: Int, fileBytes: Int
  ) throws(Defect) {
    var place = dataStart
    for entry in entries {
      guard entry.bytes.lowerBound == place else {
        let isGap = entry.bytes.lowerBound > place
        throw Defect(
          offset: min(place, entry.bytes.lowerBound),
          cause: "\(isGap ? "bytes of no tensor before" : "bytes of another tensor in") "
            + "`\(entry.tensor.name)`")
      }
      place = entry.bytes.upperBound
    }
    guard place == fileBytes else {
      throw Defect(offset: place, cause: "\(fileBytes - place) bytes after the last tensor")
    }
  }
}

// MARK: Grammar

/// The members of the header's object.
private struct Parsed {
  var entries: [SafetensorsHeader.Entry] = []
  var metadata: [String: String] = [:]

  private static let metadataName = "__metadata__"

  init(
    _ json: inout JSONScanner, dataStart: Int, fileBytes: Int
  ) throws(SafetensorsHeader.Defect) {
    var names: Set<String> = []
    try json.object { (json, name, offset) throws(SafetensorsHeader.Defect) in
      guard names.insert(name).inserted else {
        throw .init(offset: offset, cause: "`\(name)` is there twice")
      }
      if name == Self.metadataName {
        metadata = try Self.strings(&json)
      } else {
        entries.append(try Self.entry(&json, name, offset, dataStart..<fileBytes))
      }
    }
  }

  private static func strings(
    _ json: inout JSONScanner
  ) throws(SafetensorsHeader.Defect) -> [String: String] {
    var values: [String: String] = [:]
    try json.object { (json, key, offset) throws(SafetensorsHeader.Defect) in
      guard values.updateValue(try json.string(), forKey: key) == nil else {
        throw .init(offset: offset, cause: "`\(key)` is there twice")
      }
    }
    return values
  }

  private static func entry(
    _ json: inout JSONScanner, _ name: String, _ place: Int, _ data: Range<Int>
  ) throws(SafetensorsHeader.Defect) -> SafetensorsHeader.Entry {
    var type: String?
    var shape: [Int]?
    var offsets: [Int]?
    try json.object { (json, key, offset) throws(SafetensorsHeader.Defect) in
      switch key {
      case "dtype" where type == nil: type = try json.string()
      case "shape" where shape == nil: shape = try json.integers()
      case "data_offsets" where offsets == nil: offsets = try json.integers()
      default:
        throw .init(offset: offset, cause: "`\(key)` of `\(name)` is unknown or there twice")
      }
    }
    guard let type, let shape, let offsets, offsets.count == 2 else {
      throw .init(offset: place, cause: "`\(name)` needs dtype, shape and two data_offsets")
    }
    return try entry(name, place, type, shape, offsets, data)
  }

  private static func entry(
    _ name: String, _ place: Int, _ typeName: String, _ shape: [Int], _ offsets: [Int],
    _ data: Range<Int>
  ) throws(SafetensorsHeader.Defect) -> SafetensorsHeader.Entry {
    guard let type = ElementType(rawValue: typeName) else {
      let known = ElementType.allCases.map(\.rawValue).joined(separator: " ")
      throw .init(offset: place, cause: "`\(name)` is of type \(typeName), none of \(known)")
    }
    let (begin, end) = (offsets[0], offsets[1])
    guard begin <= end, end <= data.count else {
      throw .init(
        offset: place,
        cause: "`\(name)` at \(begin) to \(end), outside the \(data.count) bytes of tensors")
    }
    guard let byteCount = type.byteCount(shape: shape), byteCount == end - begin else {
      throw .init(
        offset: place, cause: "`\(name)` of shape \(shape) in \(typeName) has \(end - begin) bytes")
    }
    return SafetensorsHeader.Entry(
      tensor: SafetensorsTensor(name: name, type: type, shape: shape),
      bytes: data.lowerBound + begin..<data.lowerBound + end)
  }
}

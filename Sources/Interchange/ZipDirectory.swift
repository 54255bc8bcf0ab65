/// The entries of a zip file, all of them stored as they are, as `torch.save` writes it. Its end:
///
///     ... | directory | 64-bit end record, 56 | its locator, 20 | end record, 22 | comment
///
/// with the middle two where a number does not fit the end record, or always. An entry starts with a
/// header of its own, 30 bytes, name and extra; PyTorch fills the extra so that the bytes behind it
/// are aligned. What directory and header say of an entry must agree, and no two overlap.
struct ZipDirectory: Sendable {
  struct Entry: Hashable, Sendable {
    let name: String
    /// In the file.
    let bytes: Range<Int>
    /// The CRC-32 of the bytes; 0 when none was computed.
    let checksum: UInt32
  }

  let entries: [String: Entry]

  /// The largest directory that is read: about a million entries.
  private static let byteCountMax = 1 << 26

  /// Reads the directory and the header of every entry. Never traps, whatever the bytes.
  init(_ file: InputFile) throws(InterchangeError) {
    let end = try ZipEnd(file)
    guard end.directory.count <= Self.byteCountMax else {
      throw .malformed(
        path: file.path, offset: end.directory.lowerBound,
        cause: "a directory of \(end.directory.count) bytes, more than \(Self.byteCountMax)")
    }
    let bytes = try file.bytes(end.directory)
    var listed: [Listed] = []
    do throws(FormatDefect) {
      listed = try Self.list(bytes, end)
    } catch {
      throw InterchangeError(error.moved(by: end.directory.lowerBound), file.path)
    }
    listed.sort { ($0.header, $0.byteCount) < ($1.header, $1.byteCount) }
    var entries: [String: Entry] = [:]
    for (index, entry) in listed.enumerated() {
      let limit =
        index + 1 < listed.count ? listed[index + 1].header : end.directory.lowerBound
      let found = try Self.locate(entry, limit: limit, file)
      guard entries.updateValue(found, forKey: entry.name) == nil else {
        throw .malformed(
          path: file.path, offset: entry.header,
          cause: "the entry `\(printable(entry.name))` is there twice")
      }
    }
    self.entries = entries
  }

  /// An entry as the directory has it.
  private struct Listed {
    let name: String
    let nameBytes: [UInt8]
    let header: Int
    let byteCount: Int
    let checksum: UInt32
  }

  private static func list(_ bytes: [UInt8], _ end: ZipEnd) throws(FormatDefect) -> [Listed] {
    var listed: [Listed] = []
    var offset = 0
    while offset < bytes.count {
      let (entry, next) = try list(bytes, at: offset, directoryStart: end.directory.lowerBound)
      listed.append(entry)
      offset = next
    }
    guard listed.count == end.entryCount else {
      throw FormatDefect(
        offset: 0, cause: "\(listed.count) entries, not \(end.entryCount) as the end says")
    }
    return listed
  }

  /// One entry of the directory, and where the next one starts.
  private static func list(
    _ bytes: [UInt8], at offset: Int, directoryStart: Int
  ) throws(FormatDefect) -> (Listed, next: Int) {
    guard bytes.count - offset >= 46,
      bytes.natural(at: offset, byteCount: 4) == 0x0201_4B50
    else { throw FormatDefect(offset: offset, cause: "no entry of a zip directory") }
    let counts = [28, 30, 32].map { bytes.natural(at: offset + $0, byteCount: 2) }
    let (nameEnd, extraEnd) = (offset + 46 + counts[0], offset + 46 + counts[0] + counts[1])
    let next = extraEnd + counts[2]
    guard next <= bytes.count else {
      throw FormatDefect(offset: offset, cause: "an entry that ends outside the directory")
    }
    let nameBytes = Array(bytes[offset + 46..<nameEnd])
    guard let name = String(validating: nameBytes, as: UTF8.self), !name.isEmpty else {
      throw FormatDefect(offset: offset + 46, cause: "a name that is not UTF-8, or none")
    }
    guard bytes.natural(at: offset + 8, byteCount: 2) & 0x2041 == 0 else {
      throw FormatDefect(
        offset: offset + 8, cause: "the entry `\(printable(name))` is encrypted",
        remedy: "write the file anew with `torch.save`")
    }
    guard bytes.natural(at: offset + 10, byteCount: 2) == 0 else {
      throw FormatDefect(
        offset: offset + 10, cause: "the entry `\(printable(name))` is compressed",
        remedy: "write the file anew with `torch.save`, which stores entries as they are")
    }
    let place = try place(bytes, at: offset, extra: nameEnd..<extraEnd)
    guard place.header >= 0, place.header <= directoryStart - 30 else {
      throw FormatDefect(
        offset: offset + 42, cause: "the entry `\(printable(name))` is outside the file")
    }
    let checksum = UInt32(bytes.natural(at: offset + 16, byteCount: 4))
    return (
      Listed(
        name: name, nameBytes: nameBytes, header: place.header, byteCount: place.byteCount,
        checksum: checksum), next
    )
  }

  /// Where an entry starts and how large it is. What does not fit 32 bits stands in the extra of
  /// number 1, as 64 bits each: size, size in the file, start.
  private static func place(
    _ bytes: [UInt8], at offset: Int, extra: Range<Int>
  ) throws(FormatDefect) -> (header: Int, byteCount: Int) {
    var values = [24, 20, 42].map { UInt64(bytes.natural(at: offset + $0, byteCount: 4)) }
    var field = extra.lowerBound
    while field + 4 <= extra.upperBound {
      let end = field + 4 + bytes.natural(at: field + 2, byteCount: 2)
      guard end <= extra.upperBound else { break }
      if bytes.natural(at: field, byteCount: 2) == 1 {
        var large = field + 4
        for index in values.indices where values[index] == 0xFFFF_FFFF && large + 8 <= end {
          values[index] = bytes.littleEndian(at: large, byteCount: 8) ?? 0
          large += 8
        }
        break
      }
      field = end
    }
    guard values[0] == values[1] else {
      throw FormatDefect(offset: offset + 20, cause: "two sizes of one stored entry")
    }
    guard let byteCount = Int(exactly: values[0]), let header = Int(exactly: values[2]) else {
      throw FormatDefect(offset: offset + 20, cause: "an entry above 2^63 bytes")
    }
    return (header, byteCount)
  }

  /// Reads the header of an entry, behind which its bytes lie.
  /// - Parameter limit: where the next entry or the directory starts.
  private static func locate(
    _ entry: Listed, limit: Int, _ file: InputFile
  ) throws(InterchangeError) -> Entry {
    func malformed(_ cause: String) -> InterchangeError {
      .malformed(
        path: file.path, offset: entry.header,
        cause: "the entry `\(printable(entry.name))` \(cause)")
    }
    let nameEnd = entry.header + 30 + entry.nameBytes.count
    guard nameEnd <= limit else { throw malformed("overlaps what follows") }
    let header = try file.bytes(entry.header..<nameEnd)
    guard header.natural(at: 0, byteCount: 4) == 0x0403_4B50,
      header.natural(at: 26, byteCount: 2) == entry.nameBytes.count,
      Array(header[30...]) == entry.nameBytes
    else { throw malformed("has another header than the directory says") }
    let start = nameEnd + header.natural(at: 28, byteCount: 2)
    guard start <= limit, entry.byteCount <= limit - start else {
      throw malformed("of \(entry.byteCount) bytes overlaps what follows")
    }
    return Entry(
      name: entry.name, bytes: start..<start + entry.byteCount, checksum: entry.checksum)
  }
}

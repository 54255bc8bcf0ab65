/// Makes zip files: such as `torch.save` writes, and such as nobody should.
package struct ZipForge {
  package struct Entry {
    package var name: String
    package var bytes: [UInt8]
    package var method: UInt64 = 0
    package var flags: UInt64 = 0
    package var checksum: UInt64 = 0
    /// What the directory says, where that is not the truth.
    package var listedBytes: UInt64?
    package var listedHeader: UInt64?
    /// The name in the header of the entry.
    package var headerName: String?
    /// Extra fields in the directory.
    package var extra: [UInt8] = []

    package init(_ name: String, _ bytes: [UInt8]) {
      self.name = name
      self.bytes = bytes
    }
  }

  package var entries: [Entry]
  /// Whether there is a 64-bit end, as PyTorch always writes it.
  package var hasLargeEnd = true
  /// What the ends say, where that is not the truth.
  package var listedEntries: UInt64?
  package var listedLargeEntries: UInt64?
  package var listedDirectoryBytes: UInt64?
  package var listedDirectoryStart: UInt64?
  package var comment: [UInt8] = []

  package init(_ entries: [Entry]) { self.entries = entries }

  /// A checkpoint of a pickle and storages by their keys.
  package static func checkpoint(_ pickle: [UInt8], _ storages: [String: [UInt8]]) -> ZipForge {
    ZipForge(
      [Entry("x/data.pkl", pickle), Entry("x/byteorder", Array("little".utf8))]
        + storages.sorted { $0.key < $1.key }.map { Entry("x/data/\($0.key)", $0.value) })
  }

  package var file: [UInt8] {
    var file: [UInt8] = []
    var starts: [Int] = []
    for entry in entries {
      starts.append(file.count)
      let name = Array((entry.headerName ?? entry.name).utf8)
      file += Self.number(0x0403_4B50, 4) + [0, 0] + Self.number(entry.flags, 2)
      file += Self.number(entry.method, 2) + [0, 0, 0, 0] + Self.number(entry.checksum, 4)
      file += Self.number(UInt64(entry.bytes.count), 4) + Self.number(UInt64(entry.bytes.count), 4)
      file += Self.number(UInt64(name.count), 2) + [0, 0] + name + entry.bytes
    }
    let start = file.count
    for (entry, header) in zip(entries, starts) { file += Self.listed(entry, header) }
    return file + end(directory: start..<file.count)
  }

  private static func listed(_ entry: Entry, _ header: Int) -> [UInt8] {
    let size = number(entry.listedBytes ?? UInt64(entry.bytes.count), 4)
    return number(0x0201_4B50, 4) + [0, 0, 0, 0] + number(entry.flags, 2)
      + number(entry.method, 2) + [0, 0, 0, 0] + number(entry.checksum, 4) + size + size
      + number(UInt64(entry.name.utf8.count), 2) + number(UInt64(entry.extra.count), 2)
      + [UInt8](repeating: 0, count: 10) + number(entry.listedHeader ?? UInt64(header), 4)
      + Array(entry.name.utf8) + entry.extra
  }

  private func end(directory: Range<Int>) -> [UInt8] {
    let count = Self.number(listedEntries ?? UInt64(entries.count), 2)
    let bytes = listedDirectoryBytes ?? UInt64(directory.count)
    let start = listedDirectoryStart ?? UInt64(directory.lowerBound)
    var end: [UInt8] = []
    if hasLargeEnd {
      let count = Self.number(listedLargeEntries ?? UInt64(entries.count), 8)
      end += Self.number(0x0606_4B50, 4) + Self.number(44, 8) + [UInt8](repeating: 0, count: 12)
      end += count + count + Self.number(bytes, 8) + Self.number(start, 8)
      end += Self.number(0x0706_4B50, 4) + [0, 0, 0, 0]
      end += Self.number(UInt64(directory.upperBound), 8) + Self.number(1, 4)
    }
    return end + Self.number(0x0605_4B50, 4) + [0, 0, 0, 0] + count + count
      + Self.number(min(bytes, 0xFFFF_FFFF), 4) + Self.number(min(start, 0xFFFF_FFFF), 4)
      + Self.number(UInt64(comment.count), 2) + comment
  }

  package static func number(_ value: UInt64, _ byteCount: Int) -> [UInt8] {
    (0..<byteCount).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }
}

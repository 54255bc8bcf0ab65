/// A checkpoint as `torch.save` writes it, open for reading: a zip file with a pickle of the
/// dictionary of tensors, `NAME/data.pkl`, and the bytes of each storage, `NAME/data/KEY`. Nothing of
/// it is ever run. In memory are the names and places of tensors; numbers are read by the piece.
package final class PyTorchArchive: Sendable {
  package var path: String { file.path }
  /// In the order of the dictionary.
  package let tensors: [PyTorchTensor]
  /// As `tensors`: where the numbers lie.
  let places: [TensorPlace]
  private let file: InputFile

  /// The largest pickle that is read: some 300 000 tensors.
  private static let pickleBytesMax = 1 << 26

  /// Opens `path`, reads its directory and its pickle and checks that every tensor lies in it.
  /// Never traps, whatever the bytes.
  package convenience init(_ path: String) throws(InterchangeError) {
    try self.init(InputFile(path))
  }

  init(_ file: InputFile) throws(InterchangeError) {
    try Self.checkStart(file)
    let directory = try ZipDirectory(file)
    let prefix = try Self.prefix(directory, file)
    let isSwapped = try Self.isSwapped(directory.entries[prefix + "byteorder"], file)
    let machine = try Self.run(directory.entries[prefix + "data.pkl"], file)
    let starts = try Self.starts(machine.storages, directory, prefix, file)
    places = machine.tensors.map { tensor in
      guard let start = starts[tensor.storageKey] else { preconditionFailure("a place for each") }
      return TensorPlace(
        file: file, name: tensor.name, type: tensor.type, shape: tensor.shape,
        strides: tensor.strides, start: start + tensor.storageOffset * tensor.type.byteCount,
        isSwapped: isSwapped)
    }
    self.file = file
    tensors = machine.tensors
  }

  /// - Throws: when the file does not start as a zip file does.
  private static func checkStart(_ file: InputFile) throws(InterchangeError) {
    let start = try file.bytes(0..<min(16, file.byteCount))
    if start.starts(with: [0x50, 0x4B, 0x03, 0x04]) { return }
    // The magic number of PyTorch before 1.6, a pickle of its own.
    let magic: [UInt8] = [0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]
    let isLegacy = start.first == 0x80 && start.dropFirst(2).starts(with: magic)
    guard !isLegacy else {
      throw .unsupported(
        path: file.path, offset: 0, cause: "a checkpoint in the format of PyTorch before 1.6",
        remedy: "write it anew: `torch.save(torch.load(PATH, map_location='cpu', "
          + "weights_only=True), PATH)`")
    }
    throw try file.explaining(
      FormatDefect(offset: 0, cause: "no checkpoint of PyTorch, which starts as a zip file"))
  }

  /// What the names of all entries start with.
  private static func prefix(
    _ directory: ZipDirectory, _ file: InputFile
  ) throws(InterchangeError) -> String {
    let names = directory.entries.keys.filter {
      $0.hasSuffix("/data.pkl") && $0.utf8.count { $0 == UInt8(ascii: "/") } == 1
    }
    guard let name = names.first, names.count == 1 else {
      throw .malformed(
        path: file.path, offset: 0, cause: "\(names.count) entries NAME/data.pkl, not one")
    }
    return String(name.dropLast("data.pkl".count))
  }

  private static func isSwapped(
    _ entry: ZipDirectory.Entry?, _ file: InputFile
  ) throws(InterchangeError) -> Bool {
    // Older than the entry, and then always of such a machine.
    guard let entry else { return false }
    let start = entry.bytes.lowerBound
    switch try file.bytes(start..<start + min(entry.bytes.count, 16)) {
    case Array("little".utf8): return false
    case Array("big".utf8): return true
    default:
      throw .malformed(
        path: file.path, offset: start, cause: "a byteorder that is neither little nor big")
    }
  }

  private static func run(
    _ entry: ZipDirectory.Entry?, _ file: InputFile
  ) throws(InterchangeError) -> PickleMachine {
    guard let entry else { preconditionFailure("the entry that gave the prefix") }
    guard entry.bytes.count <= pickleBytesMax else {
      throw .malformed(
        path: file.path, offset: entry.bytes.lowerBound,
        cause: "a pickle of \(entry.bytes.count) bytes, more than \(pickleBytesMax)")
    }
    let bytes = try file.bytes(entry.bytes)
    guard entry.checksum == 0 || entry.checksum == crc32(bytes) else {
      throw .malformed(
        path: file.path, offset: entry.bytes.lowerBound,
        cause: "the pickle does not have the checksum that the directory has")
    }
    do throws(FormatDefect) {
      return try PickleMachine(bytes)
    } catch {
      throw InterchangeError(error.moved(by: entry.bytes.lowerBound), file.path)
    }
  }

  /// Where each storage starts in the file.
  private static func starts(
    _ storages: [String: PyTorchStorage], _ directory: ZipDirectory, _ prefix: String,
    _ file: InputFile
  ) throws(InterchangeError) -> [String: Int] {
    var starts: [String: Int] = [:]
    for (key, storage) in storages.sorted(by: { $0.key < $1.key }) {
      guard let entry = directory.entries["\(prefix)data/\(key)"] else {
        throw .malformed(
          path: file.path, offset: 0, cause: "no entry for the storage `\(printable(key))`")
      }
      guard entry.bytes.count == storage.byteCount else {
        throw .malformed(
          path: file.path, offset: entry.bytes.lowerBound,
          cause: "the storage `\(printable(key))` has \(entry.bytes.count) bytes, its tensors say "
            + "\(storage.byteCount)")
      }
      starts[key] = entry.bytes.lowerBound
    }
    return starts
  }
}

/// The CRC-32 of zip.
func crc32(_ bytes: [UInt8]) -> UInt32 {
  var value: UInt32 = 0xFFFF_FFFF
  for byte in bytes {
    value = crcTable[Int(UInt8(truncatingIfNeeded: value) ^ byte)] ^ (value >> 8)
  }
  return ~value
}

private let crcTable: [UInt32] = (0..<256).map { (index: UInt32) in
  (0..<8).reduce(index) { value, _ in value & 1 == 0 ? value >> 1 : value >> 1 ^ 0xEDB8_8320 }
}

import Interchange

/// The first byte says what the others are: `F` a file, `P` the pickle of one with the storages `0`
/// of 64 bytes and `1` of 16.
enum PyTorchInput {
  private static let scratch = ScratchDirectory("pytorch")
  private static let storages = ["0": 64, "1": 16].mapValues { count in
    (0..<count).map { UInt8($0) }
  }

  static func run(_ bytes: [UInt8]) {
    let rest = Array(bytes.dropFirst())
    do throws(InterchangeError) {
      switch bytes.first {
      case UInt8(ascii: "F"): try read(rest)
      case UInt8(ascii: "P"): try read(ZipForge.checkpoint(rest, storages).file)
      default: return
      }
    } catch {
      precondition(!error.description.isEmpty, "an error says something")
    }
  }

  /// Reads all tensors that are not too large, whole and by the row.
  private static func read(_ bytes: [UInt8]) throws(InterchangeError) {
    scratch.write(bytes, "pytorch_model.bin")
    let archive = try PyTorchArchive("\(scratch.path)/pytorch_model.bin")
    let folder = try CheckpointFolder(scratch.path)
    precondition(archive.tensors.count == folder.tensors.count, "the same tensors")
    for tensor in archive.tensors {
      guard let size = tensor.type.byteCount(shape: tensor.shape), size < 1 << 12 else { continue }
      let (rows, columns) = (tensor.shape.dropLast().reduce(1, *), tensor.shape.last ?? 1)
      do throws(InterchangeError) {
        let whole = try floats(folder, tensor.name, 0..<rows, columns)
        guard rows > 0, columns > 0 else { continue }
        let last = try floats(folder, tensor.name, rows - 1..<rows, columns)
        precondition(
          whole.suffix(columns).map(\.bitPattern) == last.map(\.bitPattern), "rows of the whole")
      } catch {
        precondition(!tensor.type.isFloat, "floats are read: \(error)")
      }
    }
  }

  private static func floats(
    _ folder: CheckpointFolder, _ name: String, _ rows: Range<Int>, _ columns: Int
  ) throws(InterchangeError) -> [Float] {
    var floats = [Float](repeating: 0, count: rows.count * columns)
    var span = floats.mutableSpan
    try folder.read(name, rows: rows, into: &span)
    return floats
  }

  static var seeds: [(name: String, bytes: [UInt8])] {
    let pickles = [UInt8(2), 3, 4, 5].map { version in
      let bytes = PickleForge.dictionary(version: version) {
        $0.add(tensor: "a", shape: [4, 4], strides: [4, 1], storage: "0", count: 16)
        $0.add(tensor: "a.t", shape: [4, 3], strides: [1, 4], storage: "0", count: 16)
        $0.add(
          tensor: "b", shape: [2, 1, 2], strides: [3, 0, 1], offset: 1, storage: "1", count: 8,
          storageClass: "BFloat16Storage")
      }
      return (name: "protocol-\(version)", bytes: [UInt8(ascii: "P")] + bytes)
    }
    let plain = PickleForge.dictionary {
      $0.add(tensor: "a", shape: [2], strides: [1], storage: "0", count: 16)
    }
    let file = ZipForge.checkpoint(plain, storages).file
    return pickles + [("file", [UInt8(ascii: "F")] + file)]
  }
}

import Foundation

/// Which files of a directory the weights of a model are in, by the names that Hugging Face gives
/// them: one file, or the several that an index names.
struct CheckpointIndex: Sendable {
  enum Format: String, Sendable {
    case safetensors
    case pyTorch = "PyTorch"
  }

  let format: Format
  /// The index itself, or the file.
  let path: String
  /// Files by tensor; nil without an index.
  let map: [String: String]?
  /// In order, each once.
  let files: [String]
  /// Of `files`, those that are not there.
  let missing: [String]

  private static let byteCountMax = 1 << 28

  /// The names that a directory may have: the one file, and the index.
  static func names(_ format: Format, stem: String) -> (single: String, index: String) {
    switch format {
    case .safetensors: (SafetensorsShards.singleName(stem), SafetensorsShards.indexName(stem))
    case .pyTorch: ("pytorch_\(stem).bin", "pytorch_\(stem).bin.index.json")
    }
  }

  /// The files of one format; nil when there are none.
  init?(
    _ directory: String, stem: String, _ format: Format, followsLinks: Bool
  ) throws(InterchangeError) {
    let names = Self.names(format, stem: stem)
    let manager = FileManager.default
    let hasSingle = manager.fileExists(atPath: "\(directory)/\(names.single)")
    guard manager.fileExists(atPath: "\(directory)/\(names.index)") else {
      guard hasSingle else { return nil }
      self.format = format
      path = "\(directory)/\(names.single)"
      map = nil
      files = [names.single]
      missing = []
      return
    }
    let path = "\(directory)/\(names.index)"
    let map = try Self.read(InputFile(path, followsLinks: followsLinks))
    let files = Set(map.values).sorted()
    guard !hasSingle || files.contains(names.single) else {
      throw .malformed(
        path: path, offset: 0,
        cause: "beside it is \(names.single), which it does not name: one of the two is of "
          + "another model")
    }
    self.format = format
    self.path = path
    self.map = map
    self.files = files
    missing = files.filter { !manager.fileExists(atPath: "\(directory)/\($0)") }
  }

  /// `{"metadata": ..., "weight_map": {TENSOR: FILE, ...}}`
  private static func read(_ file: InputFile) throws(InterchangeError) -> [String: String] {
    let bytes = try file.contents(byteCountMax: byteCountMax)
    do throws(FormatDefect) {
      return try parse(bytes)
    } catch {
      throw try file.explaining(error)
    }
  }

  private static func parse(_ bytes: [UInt8]) throws(FormatDefect) -> [String: String] {
    var map: [String: String]?
    var json = JSONScanner(bytes: bytes, range: bytes.indices)
    try json.object { (json, key, offset) throws(FormatDefect) in
      guard key == "weight_map" else {
        _ = try json.value()
        return
      }
      guard map == nil else { throw FormatDefect(offset: offset, cause: "two weight_maps") }
      map = try weightMap(&json)
    }
    try json.end()
    guard let map else { throw FormatDefect(offset: 0, cause: "no index with a weight_map") }
    guard !map.isEmpty else { throw FormatDefect(offset: 0, cause: "the index names no tensor") }
    return map
  }

  /// Names that lead out of the directory are refused.
  private static func weightMap(
    _ json: inout JSONScanner
  ) throws(FormatDefect) -> [String: String] {
    var map: [String: String] = [:]
    try json.object { (json, tensor, offset) throws(FormatDefect) in
      let file = try json.string()
      guard !file.isEmpty, !file.hasPrefix("."), !file.contains("/"), !file.contains("\0") else {
        throw FormatDefect(
          offset: offset, cause: "`\(printable(file))` is not the name of a file here")
      }
      guard map.updateValue(file, forKey: tensor) == nil else {
        throw FormatDefect(offset: offset, cause: "`\(printable(tensor))` is there twice")
      }
    }
    return map
  }
}

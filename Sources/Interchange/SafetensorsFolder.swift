import Foundation

/// All tensors of a directory with the name of one stem: `STEM.safetensors`, or the files that
/// `STEM.safetensors.index.json` names.
package struct SafetensorsFolder {
  private let files: [String: SafetensorsFile]
  private let entries: [String: (file: String, entry: SafetensorsHeader.Entry)]

  package var names: Set<String> { Set(entries.keys) }

  /// Whether `directory` has tensors of `stem`.
  package static func exists(_ directory: String, stem: String) -> Bool {
    [SafetensorsShards.indexName(stem), SafetensorsShards.singleName(stem)].contains {
      FileManager.default.fileExists(atPath: "\(directory)/\($0)")
    }
  }

  /// Opens all files, and compares the index with them.
  package init(_ directory: String, stem: String) throws(InterchangeError) {
    let indexPath = "\(directory)/\(SafetensorsShards.indexName(stem))"
    let map =
      FileManager.default.fileExists(atPath: indexPath)
      ? try Self.readIndex(indexPath) : nil
    let names = map.map { Set($0.values) } ?? [SafetensorsShards.singleName(stem)]
    var files: [String: SafetensorsFile] = [:]
    var entries: [String: (file: String, entry: SafetensorsHeader.Entry)] = [:]
    for name in names.sorted() {
      let file = try SafetensorsFile("\(directory)/\(name)")
      files[name] = file
      for entry in file.header.entries {
        let tensor = entry.tensor.name
        if let map, map[tensor] != name {
          throw .malformed(
            path: indexPath, offset: 0, cause: "`\(tensor)` of \(name) is not in the index")
        }
        entries[tensor] = (name, entry)
      }
    }
    if let lost = map?.keys.filter({ entries[$0] == nil }).min() {
      throw .malformed(
        path: indexPath, offset: 0, cause: "`\(lost)` is not in \(map?[lost] ?? "its file")")
    }
    self.files = files
    self.entries = entries
  }

  package func tensor(_ name: String) -> SafetensorsTensor? { entries[name]?.entry.tensor }

  /// The file that has the tensor `name`, for errors.
  package func path(of name: String) -> String? { entries[name].flatMap { files[$0.file]?.path } }

  /// Fills `target` with bytes of the tensor `name`, from `offset` of it on.
  package func read(
    _ name: String, from offset: Int, into target: inout MutableRawSpan
  ) throws(InterchangeError) {
    guard let (fileName, entry) = entries[name], let file = files[fileName] else {
      preconditionFailure("no tensor \(name)")
    }
    try file.read(entry, from: offset, into: &target)
  }

  private struct Index: Decodable {
    // The format's own spelling.
    // swift-format-ignore: AlwaysUseLowerCamelCase
    let weight_map: [String: String]
  }

  /// Files by tensor. Names that lead out of the directory are refused.
  private static func readIndex(_ path: String) throws(InterchangeError) -> [String: String] {
    let map: [String: String]
    do {
      let data = try Data(contentsOf: URL(fileURLWithPath: path))
      map = try JSONDecoder().decode(Index.self, from: data).weight_map
    } catch {
      throw .malformed(path: path, offset: 0, cause: "no index with a weight_map")
    }
    if let name = map.values.first(where: { $0.contains("/") || $0.hasPrefix(".") || $0.isEmpty }) {
      throw .malformed(path: path, offset: 0, cause: "`\(name)` is not the name of a file here")
    }
    guard !map.isEmpty else {
      throw .malformed(path: path, offset: 0, cause: "the index names no tensor")
    }
    return map
  }
}

import Foundation
import Interchange
import Models

/// Which tensors of a published checkpoint are which of the model: all are there, in their shapes,
/// and none is left over.
struct CheckpointTensors {
  let folder: CheckpointFolder
  /// The file's name of each tensor that has another there.
  let renamed: [String: String]

  /// - Throws: `ExchangeError.wrongGeometry` when `config.json` says otherwise than the tensors;
  ///   `InterchangeError` for files that do not read.
  static func requireGeometry(_ model: PublishedModel, followsLinks: Bool) throws {
    let folder = try CheckpointFolder(model.folder, followsLinks: followsLinks)
    let geometry = CheckpointGeometry(
      folder.tensors.map { ($0.name, $0.shape) }, model.configuration.type)
    let differences = geometry.differences(from: model.configuration)
    guard differences.isEmpty else {
      throw ExchangeError.wrongGeometry(
        path: model.path, differences: differences.map(\.description))
    }
  }

  /// - Throws: `InterchangeError` for files that do not read; `ExchangeError.wrongTensor` for a tensor
  ///   that is missing, has another shape or is none of the model.
  init(_ model: PublishedModel, _ tensors: ModelTensors, followsLinks: Bool) throws {
    let folder = try CheckpointFolder(model.folder, followsLinks: followsLinks)
    var (left, renamed) = (folder.names, [String: String]())
    for wanted in tensors.tensors(.weights) {
      let name = Self.fileName(of: wanted.name, in: folder)
      guard let found = folder.tensor(name) else {
        throw ExchangeError.wrongTensor(
          path: model.folder, name: wanted.name, cause: "is missing")
      }
      guard found.shape == wanted.shape else {
        throw ExchangeError.wrongTensor(
          path: folder.path(of: name) ?? model.folder, name: name,
          cause: "is \(found.shape), not \(wanted.shape) as config.json says")
      }
      if name != wanted.name { renamed[wanted.name] = name }
      left.remove(name)
    }
    (self.folder, self.renamed) = (folder, renamed)
    let known = Set(tensors.tensors(.weights).map(\.name))
    for name in left.sorted() { try explain(name, known, model) }
  }

  /// A model saved without its head has names without the first `model.`.
  private static func fileName(of name: String, in folder: CheckpointFolder) -> String {
    guard folder.tensor(name) == nil, name.hasPrefix("model.") else { return name }
    let short = String(name.dropFirst("model.".count))
    return folder.tensor(short) == nil ? name : short
  }

  /// Tables that are formulas, and were stored all the same.
  private static let formulas = [
    "embed_positions.weights", "embed_positions._float_tensor", "rotary_emb.inv_freq",
  ]
  /// Other names of the embedding.
  private static let copies = [
    "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight",
  ]

  /// Finds why a tensor that the model does not have is there.
  private func explain(_ name: String, _ known: Set<String>, _ model: PublishedModel) throws {
    if Self.formulas.contains(where: name.hasSuffix) { return }
    let table = ["shared.weight", "model.shared.weight", "model.embed_tokens.weight"]
      .first(where: known.contains).map { renamed[$0] ?? $0 }
    let isCopy = Self.copies.contains { name == $0 || name == "model.\($0)" }
    guard isCopy, let table else {
      throw ExchangeError.wrongTensor(
        path: folder.path(of: name) ?? model.folder, name: name,
        cause: "is none of the model in config.json")
    }
    guard try folder.areTied(name, table) || isEqual(name, table) else {
      throw ExchangeError.wrongTensor(
        path: folder.path(of: name) ?? model.folder, name: name,
        cause: "differs from `\(table)`, with which config.json ties it")
    }
  }

  private func isEqual(_ name: String, _ other: String) throws -> Bool {
    guard let a = folder.tensor(name), let b = folder.tensor(other), a.shape == b.shape,
      a.shape.count == 2
    else { return false }
    var (mine, theirs) = (
      [Float](repeating: 0, count: a.shape[1]), [Float](repeating: 0, count: a.shape[1])
    )
    for row in 0..<a.shape[0] {
      var first = mine.mutableSpan
      try folder.read(name, rows: row..<row + 1, into: &first)
      var second = theirs.mutableSpan
      try folder.read(other, rows: row..<row + 1, into: &second)
      guard zip(mine, theirs).allSatisfy({ $0.bitPattern == $1.bitPattern }) else { return false }
    }
    return true
  }
}

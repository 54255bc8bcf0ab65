import Foundation
package import Interchange
package import Models

/// A checkpoint with what transformers computes of it: inputs, logits, losses, gradient norms and
/// the losses of a few steps of AdamW, full and padded.
///
///     config.json, weights                     as published models have them
///     golden.json                              losses and norms
///     golden.safetensors                       inputs and logits
///
/// Of weights rounded to bfloat16 there is `golden.bf16.json` with the loss of a padded batch alone.
package struct Golden {
  /// Of the weights.
  package let folder: String
  private let tensors: [String: [Float]]
  private let integers: [String: [Int32]]
  private let shapes: [String: [Int]]
  private let cases: [String: [String: Any]]

  /// - Parameters:
  ///   - folder: of the weights.
  ///   - values: of the goldens, when they are not in `folder`: the same weights may be in several
  ///     containers.
  /// - Throws: `GoldenError`.
  package init(folder: String, values: String? = nil) throws {
    self.folder = folder
    let place = values ?? folder
    (tensors, integers, shapes) = try Self.arrays("\(place)/golden.safetensors")
    let rounded = "\(place)/golden.bf16.json"
    if FileManager.default.fileExists(atPath: rounded) {
      cases = ["padded": ["eval": try Self.object(rounded)]]
    } else {
      let path = "\(place)/golden.json"
      guard let cases = try Self.object(path)["cases"] as? [String: [String: Any]] else {
        throw GoldenError(path: path, cause: "has no `cases`")
      }
      self.cases = cases
    }
  }

  /// Configurations that the published models do not have.
  package static let variants = [
    "switch-untied", "switch-all-sparse", "switch-sparse-encoder", "switch-sparse-decoder",
    "nllb-untied", "nllb-mean-capacity", "nllb-prioritized", "nllb-prioritized-shares",
    "mixtral-window", "mixtral-all-experts", "mixtral-llama3", "olmoe-clip", "olmoe-tied",
    "olmoe-all-experts", "qwen3-bias", "qwen3-window", "qwen3-yarn",
  ]

  /// The golden `name` among those of the tests.
  package init(_ name: String) throws { try self.init(folder: Self.folder(name)) }

  package static func folder(_ name: String) -> String {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
    let kind = variants.contains(name) ? "variants" : "tiny"
    return root.appendingPathComponent("Tests/Goldens/\(kind)/\(name)").path
  }

  private static func object(_ path: String) throws -> [String: Any] {
    guard let text = FileManager.default.contents(atPath: path) else {
      throw GoldenError(path: path, cause: "cannot be read")
    }
    guard let object = try? JSONSerialization.jsonObject(with: text) as? [String: Any] else {
      throw GoldenError(path: path, cause: "is not a JSON object")
    }
    return object
  }

  private typealias Arrays = ([String: [Float]], [String: [Int32]], [String: [Int]])

  private static func arrays(_ path: String) throws -> Arrays {
    guard let bytes = FileManager.default.contents(atPath: path), bytes.count > 8 else {
      throw GoldenError(path: path, cause: "cannot be read")
    }
    let length = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length < bytes.count - 8,
      let header = try? JSONSerialization.jsonObject(with: bytes[8..<8 + length])
    else { throw GoldenError(path: path, cause: "has no header") }
    var (tensors, integers, shapes) = ([String: [Float]](), [String: [Int32]](), [String: [Int]]())
    for (name, value) in header as? [String: [String: Any]] ?? [:] {
      guard let range = value["data_offsets"] as? [Int], let type = value["dtype"] as? String
      else { continue }
      guard range.count == 2, range[0] <= range[1], 8 + length + range[1] <= bytes.count else {
        throw GoldenError(path: path, cause: "ends before `\(name)` does")
      }
      let words = words(bytes[8 + length + range[0]..<8 + length + range[1]])
      if type == "F32" { tensors[name] = words.map { Float(bitPattern: $0) } }
      if type == "I32" { integers[name] = words.map { Int32(bitPattern: $0) } }
      shapes[name] = value["shape"] as? [Int]
    }
    return (tensors, integers, shapes)
  }

  private static func words(_ bytes: Data) -> [UInt32] {
    let bytes = Array(bytes)
    return stride(from: 0, to: bytes.count, by: 4).map { first in
      bytes[first..<first + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }
  }

  package enum Case: String, CaseIterable, Sendable { case full, padded }

  package func logits(_ kind: Case, _ mode: String) -> [Float]? {
    tensors["\(kind).\(mode).logits"]
  }

  /// Those whose inputs are there.
  package var kinds: [Case] { Case.allCases.filter { integers["\($0).input_ids"] != nil } }

  private func values(_ kind: Case, _ mode: String) -> [String: Any] {
    cases[kind.rawValue]?[mode] as? [String: Any] ?? [:]
  }

  /// Whether the gates' losses are a part of the loss: transformers names them then.
  package var hasRouterLosses: Bool {
    kinds.contains { kind in
      values(kind, "eval").keys.contains { $0.hasSuffix("aux_loss") }
    }
  }

  package func loss(_ kind: Case, _ mode: String) -> Double? {
    values(kind, mode)["loss"] as? Double
  }

  /// The norm of each tensor's gradient; nil for one that was never touched.
  package func gradientNorms(_ kind: Case) -> [String: Double?] {
    let norms = values(kind, "train")["grad_norms"] as? [String: Any] ?? [:]
    return norms.mapValues { $0 as? Double }
  }

  /// The names of the conventions that there are losses of.
  package func adamConventions(_ kind: Case) -> [String] { values(kind, "adamw").keys.sorted() }

  /// Losses before steps 1, 2 and 3 of AdamW, and after the last.
  package func adamLosses(_ kind: Case, _ convention: String) -> [Double]? {
    (values(kind, "adamw")[convention] as? [String: Any])?["losses"] as? [Double]
  }

  package func configuration() throws -> ModelConfiguration {
    try ModelConfiguration(folder + "/config.json")
  }

  /// A model as large as `batch` needs.
  package func limits(_ batch: PackedBatch) -> BatchLimits {
    let rows = max(batch.source.rows, batch.target.rows)
    let longest = (batch.source.sequences + batch.target.sequences).map(\.count).max() ?? 1
    return BatchLimits(
      microBatches: 1, microBatchRows: rows, sequenceRows: longest, expertRows: rows)
  }

  // MARK: The batch

  package func batch(_ kind: Case, _ configuration: ModelConfiguration) throws -> PackedBatch {
    func rows(_ name: String) throws -> [[Int32]] {
      guard let all = integers["\(kind).\(name)"], let shape = shapes["\(kind).\(name)"] else {
        throw GoldenError(path: folder, cause: "has no golden `\(kind).\(name)`")
      }
      return (0..<shape[0]).map { Array(all[$0 * shape[1]..<($0 + 1) * shape[1]]) }
    }
    let (ids, mask) = (try rows("input_ids"), try rows("attention_mask"))
    let labels = try rows("labels")
    let lengths = mask.map { $0.count { $0 == 1 } }
    var batch = PackedBatch()
    if case .decoder = configuration.family {
      batch.target.append(
        tokens: ids.flatMap { $0 }, sequences: Self.sequences(ids), tokensOfSequences: lengths)
      // A row predicts the next token.
      batch.labels = labels.flatMap { $0.dropFirst() + [PackedBatch.ignored] }
      return batch
    }
    batch.source.append(
      tokens: ids.flatMap { $0 }, sequences: Self.sequences(ids), tokensOfSequences: lengths)
    let pad = Int32(configuration.padToken ?? 0)
    let start = Int32(configuration.decoderStartToken ?? configuration.padToken ?? 0)
    let inputs = labels.map { row in
      [start] + row.dropLast().map { $0 == PackedBatch.ignored ? pad : $0 }
    }
    batch.target.append(tokens: inputs.flatMap { $0 }, sequences: Self.sequences(inputs))
    batch.labels = labels.flatMap { $0 }
    return batch
  }

  private static func sequences(_ rows: [[Int32]]) -> [Range<Int>] {
    var next = 0
    return rows.map { row in
      defer { next += row.count }
      return next..<next + row.count
    }
  }
}

/// Goldens that do not read.
package struct GoldenError: Error, CustomStringConvertible {
  package let path: String
  package let cause: String

  package init(path: String, cause: String) { (self.path, self.cause) = (path, cause) }

  package var description: String { "\(path) \(cause)" }
}

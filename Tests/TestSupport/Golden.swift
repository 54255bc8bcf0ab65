import Foundation
package import Interchange
package import Models

/// A checkpoint with what transformers computes of it: inputs, logits, losses, gradient norms.
package struct Golden {
  package let folder: String
  private let tensors: [String: [Float]]
  private let integers: [String: [Int32]]
  private let shapes: [String: [Int]]
  private let json: [String: Any]

  package init(_ name: String) throws {
    let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent()
    folder = tests.appendingPathComponent("Goldens/tiny/\(name)").path
    let bytes = try Data(contentsOf: URL(fileURLWithPath: folder + "/golden.safetensors"))
    let length = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = try JSONSerialization.jsonObject(with: bytes[8..<8 + length])
    var (tensors, integers, shapes) = ([String: [Float]](), [String: [Int32]](), [String: [Int]]())
    for (name, value) in header as? [String: [String: Any]] ?? [:] {
      guard let range = value["data_offsets"] as? [Int], let type = value["dtype"] as? String
      else { continue }
      let words = Self.words(bytes[8 + length + range[0]..<8 + length + range[1]])
      if type == "F32" { tensors[name] = words.map { Float(bitPattern: $0) } }
      if type == "I32" { integers[name] = words.map { Int32(bitPattern: $0) } }
      shapes[name] = value["shape"] as? [Int]
    }
    (self.tensors, self.integers, self.shapes) = (tensors, integers, shapes)
    let text = try Data(contentsOf: URL(fileURLWithPath: folder + "/golden.json"))
    json = try JSONSerialization.jsonObject(with: text) as? [String: Any] ?? [:]
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

  private func values(_ kind: Case, _ mode: String) -> [String: Any] {
    let cases = json["cases"] as? [String: [String: Any]] ?? [:]
    return cases[kind.rawValue]?[mode] as? [String: Any] ?? [:]
  }
  package func loss(_ kind: Case, _ mode: String) -> Double? {
    values(kind, mode)["loss"] as? Double
  }

  /// The norm of each tensor's gradient; nil for one that was never touched.
  package func gradientNorms(_ kind: Case) -> [String: Double?] {
    let norms = values(kind, "train")["grad_norms"] as? [String: Any] ?? [:]
    return norms.mapValues { $0 as? Double }
  }

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
        throw CocoaError(.fileReadCorruptFile)
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

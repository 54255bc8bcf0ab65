import Base
import Foundation
import Interchange
import Kernels
import Layers
import Models

/// A checkpoint with what transformers computes of it: inputs, logits, losses, gradient norms.
struct Golden {
  let folder: String
  private let tensors: [String: [Float]]
  private let integers: [String: [Int32]]
  private let shapes: [String: [Int]]
  private let json: [String: Any]

  init(_ name: String) throws {
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

  enum Case: String, CaseIterable, Sendable { case full, padded }

  func logits(_ kind: Case, _ mode: String) -> [Float]? { tensors["\(kind).\(mode).logits"] }

  private func values(_ kind: Case, _ mode: String) -> [String: Any] {
    let cases = json["cases"] as? [String: [String: Any]] ?? [:]
    return cases[kind.rawValue]?[mode] as? [String: Any] ?? [:]
  }
  func loss(_ kind: Case, _ mode: String) -> Double? { values(kind, mode)["loss"] as? Double }

  /// The norm of each tensor's gradient; nil for one that was never touched.
  func gradientNorms(_ kind: Case) -> [String: Double?] {
    let norms = values(kind, "train")["grad_norms"] as? [String: Any] ?? [:]
    return norms.mapValues { $0 as? Double }
  }

  /// Losses before steps 1, 2 and 3 of AdamW, and after the last.
  func adamLosses(_ kind: Case, _ convention: String) -> [Double]? {
    (values(kind, "adamw")[convention] as? [String: Any])?["losses"] as? [Double]
  }

  // MARK: The batch

  func batch(_ kind: Case, _ configuration: ModelConfiguration) throws -> PackedBatch {
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

/// The weights of a checkpoint in a small model.
extension TinyModel {
  init(_ golden: Golden, hasRouterLosses: Bool, _ kind: Golden.Case) throws {
    let path = golden.folder + "/config.json"
    let configuration = try ModelConfiguration(path)
    let description = try ModelDescription(
      configuration, path: path, hasRouterLosses: hasRouterLosses)
    let batch = try golden.batch(kind, configuration)
    let checkpoint = try CheckpointFolder(golden.folder)
    self.init(description, batch: batch)
    let dense = model.dense
    for slot in description.layout.slots {
      for part in slot.parts { try Self.read(part, slot, checkpoint, into: dense) }
    }
    for layer in description.layers {
      guard case .mixture(let mixture) = layer.feedForward else { continue }
      for (index, names) in mixture.names.enumerated() {
        experts[.expert(layer: mixture.number, index)] = try Self.expert(
          names, description.experts, checkpoint)
      }
    }
  }

  private static func floats(_ name: String, _ checkpoint: CheckpointFolder) throws -> [Float] {
    let shape = checkpoint.tensor(name)?.shape ?? []
    var floats = [Float](repeating: 0, count: shape.reduce(1, *))
    var span = floats.mutableSpan
    try checkpoint.read(
      name, rows: 0..<shape.dropLast().reduce(1, *), into: &span)
    return floats
  }

  private static func read(
    _ part: TensorPart, _ slot: TensorSlot, _ checkpoint: CheckpointFolder,
    into dense: DenseParameters
  ) throws {
    let values = try floats(part.name, checkpoint)
    let target = dense.weights(slot)
    if slot.rows == 1, !slot.decays {
      for (index, value) in values.enumerated() { target[0, part.rows.lowerBound + index] = value }
      return
    }
    let (rows, columns) = (part.rows.count, slot.columns)
    for row in 0..<rows {
      for column in 0..<columns {
        let index = part.isTransposed ? column * rows + row : row * columns + column
        target[part.rows.lowerBound + row, column] = values[index]
      }
    }
  }

  private static func expert(
    _ names: ExpertNames, _ shape: ExpertShape, _ checkpoint: CheckpointFolder
  ) throws -> FloatBuffer {
    let buffer = FloatBuffer(count: shape.parametersPerBlock)
    func fill(_ target: Matrix?, _ name: String?, isTransposed: Bool = false) throws {
      guard let target, let name else { return }
      let values = try floats(name, checkpoint)
      for row in 0..<target.rows {
        for column in 0..<target.columns {
          let index = isTransposed ? column * target.rows + row : row * target.columns + column
          target[row, column] = values[index]
        }
      }
    }
    try fill(shape.matrix(0, of: buffer), names.first)
    try fill(shape.matrix(1, of: buffer), names.second, isTransposed: true)
    if names.third != nil { try fill(shape.matrix(2, of: buffer), names.third) }
    try fill(shape.firstBias(of: buffer), names.firstBias)
    try fill(shape.secondBias(of: buffer), names.secondBias)
    return buffer
  }
}

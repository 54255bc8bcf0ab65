import Base
import Goldens
import Interchange
import Kernels
import Layers
import Models
import Testing

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
    let units = 0..<(names.hidden ?? shape.hidden)
    func fill(_ target: Matrix?, _ name: String?, isTransposed: Bool = false) throws {
      guard let target, let name else { return }
      let values = try floats(name, checkpoint)
      try #require(values.count == target.rows * target.columns, "\(name)")
      for row in 0..<target.rows {
        for column in 0..<target.columns {
          let index = isTransposed ? column * target.rows + row : row * target.columns + column
          target[row, column] = values[index]
        }
      }
    }
    try fill(shape.matrix(0, of: buffer).rows(units), names.first)
    try fill(shape.matrix(1, of: buffer).rows(units), names.second, isTransposed: true)
    if names.third != nil { try fill(shape.matrix(2, of: buffer).rows(units), names.third) }
    try fill(shape.firstBias(of: buffer)?.columns(units), names.firstBias)
    try fill(shape.secondBias(of: buffer), names.secondBias)
    return buffer
  }
}

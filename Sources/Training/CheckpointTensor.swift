import Interchange
package import Models

/// One tensor of a checkpoint: its name and shape in files, and what it is before any training.
package struct CheckpointTensor: Sendable {
  package let name: String
  package let shape: [Int]
  package let initial: TensorSlot.Initial
  package let isExpert: Bool

  package var count: Int { shape.reduce(1, *) }
}

extension ModelDescription {
  /// The tensors of a checkpoint of this model, in the order in which files have them.
  package var checkpointTensors: [CheckpointTensor] {
    ModelTensors(self).parts.flatMap { part -> [CheckpointTensor] in
      switch part {
      case .dense(let tensor):
        return [
          CheckpointTensor(
            name: tensor.name, shape: tensor.shape, initial: tensor.slot.initial, isExpert: false)
        ]
      case .expert(let expert):
        // Vectors of an expert are biases.
        return experts.shapes(expert.names).map { name, shape in
          CheckpointTensor(
            name: name, shape: shape,
            initial: shape.count == 1 ? .zeros : .uniform(bound: experts.bound), isExpert: true)
        }
      }
    }
  }
}

package import Kernels
package import Layers

/// The weights of the block at hand, filled anew for each visit; `ExpertShape` says what follows what.
/// Here the rows of its matrices may lie apart, as products want them.
package struct ExpertWeights: Sendable {
  package let shape: ExpertShape
  package let floats: SpacedFloats

  package init(_ shape: ExpertShape) {
    self.shape = shape
    let biases = shape.parametersPerBlock - shape.matrixParameters
    floats = SpacedFloats(
      Matrix(spacedRows: shape.matrices * shape.sliceHidden, columns: shape.width),
      rest: Matrix(rows: 1, columns: biases))
  }

  /// Floats that `init` allocates.
  package static func floatCount(_ shape: ExpertShape) -> Int {
    let rows = shape.matrices * shape.sliceHidden
    return rows * Matrix.spacedStride(columns: shape.width)
      + shape.parametersPerBlock - shape.matrixParameters
  }

  /// The layer that they are.
  package func layer(slice: Int) -> FeedForward {
    FeedForward(
      shape.activation, w1: matrix(0), w2: matrix(1), w3: shape.isGated ? matrix(2) : nil,
      b1: shape.hasBiases ? floats.rest.columns(0..<shape.sliceHidden) : nil,
      b2: shape.hasBiases && slice == 0
        ? floats.rest.columns(shape.sliceHidden..<shape.sliceHidden + shape.width) : nil)
  }

  private func matrix(_ number: Int) -> Matrix {
    floats.matrix.rows(number * shape.sliceHidden..<(number + 1) * shape.sliceHidden)
  }
}

package import Kernels
package import Optimizers

/// The experts of a model, all of one shape. An expert is a feed-forward layer, cut along its hidden
/// units into slices; a slice is a block of the store:
///
///     W1 [sliceHidden, width], W2 transposed, W3 where it is gated, b1 [sliceHidden], b2 [width]
///
/// An expert is the sum of its slices in order; b2 belongs to the first and is zero in the others.
package struct ExpertShape: Sendable, Equatable {
  package let count: Int
  package let width: Int
  package let hidden: Int
  package let activation: Activation
  package let isGated: Bool
  package let hasBiases: Bool
  /// Equal pieces along the hidden dimension.
  package let slices: Int
  /// Weights that were never written are uniform in [-bound, bound); biases are zero.
  package let bound: Float

  package init(
    count: Int, width: Int, hidden: Int, activation: Activation = .relu, isGated: Bool = false,
    hasBiases: Bool = false, slices: Int = 1, bound: Float? = nil
  ) {
    precondition(hidden % slices == 0, "slices divide the hidden dimension")
    (self.count, self.width, self.hidden) = (count, width, hidden)
    (self.activation, self.isGated, self.hasBiases) = (activation, isGated, hasBiases)
    self.slices = slices
    // Glorot and Bengio 2010, over the whole expert.
    self.bound = bound ?? (6 / Float(width + hidden)).squareRoot()
  }

  /// Hidden units of one slice.
  package var sliceHidden: Int { hidden / slices }
  package var matrices: Int { isGated ? 3 : 2 }
  /// Parameters of a slice's matrices; what follows are biases.
  package var matrixParameters: Int { matrices * sliceHidden * width }
  package var parametersPerBlock: Int {
    matrixParameters + (hasBiases ? sliceHidden + width : 0)
  }

  /// The same experts in the fewest slices whose records of `bytesPerParameter` are within
  /// `blockBytes`; nil when even one hidden unit is too large.
  package func sliced(bytesPerParameter: Int, blockBytes: Int) -> ExpertShape? {
    for slices in 1...hidden where hidden % slices == 0 {
      let shape = cut(into: slices)
      if shape.parametersPerBlock * bytesPerParameter <= blockBytes { return shape }
    }
    return nil
  }

  /// The same experts in `slices` slices, a divisor of the hidden dimension.
  package func cut(into slices: Int) -> ExpertShape {
    ExpertShape(
      count: count, width: width, hidden: hidden, activation: activation, isGated: isGated,
      hasBiases: hasBiases, slices: slices, bound: bound)
  }

  /// The hidden units of a slice that checkpoints have under `names`; the others are zero.
  package func units(of slice: Int, _ names: ExpertNames) -> Range<Int> {
    hiddenUnits(of: slice).clamped(to: 0..<(names.hidden ?? hidden))
  }

  func hiddenUnits(of slice: Int) -> Range<Int> {
    slice * sliceHidden..<(slice + 1) * sliceHidden
  }

  // MARK: The tensors of a block

  /// W1, W2 transposed or W3, by number, [sliceHidden, width].
  package func matrix(_ number: Int, of block: FloatBuffer) -> Matrix {
    block.matrix(rows: sliceHidden, columns: width, offset: number * sliceHidden * width)
  }
  /// b1 [1, sliceHidden].
  package func firstBias(of block: FloatBuffer) -> Matrix? {
    hasBiases ? block.matrix(rows: 1, columns: sliceHidden, offset: matrixParameters) : nil
  }
  /// b2 [1, width].
  package func secondBias(of block: FloatBuffer) -> Matrix? {
    hasBiases
      ? block.matrix(rows: 1, columns: width, offset: matrixParameters + sliceHidden) : nil
  }

  /// The tensors as their second moments are factored: a slice's matrices stand for themselves.
  package var factored: [FactoredTensor] {
    let matrices = (0..<matrices).map {
      FactoredTensor(
        offset: $0 * sliceHidden * width, rows: sliceHidden, columns: width, decays: true)
    }
    guard hasBiases else { return matrices }
    return matrices + [
      FactoredTensor(offset: matrixParameters, rows: 1, columns: sliceHidden, decays: false),
      FactoredTensor(
        offset: matrixParameters + sliceHidden, rows: 1, columns: width, decays: false),
    ]
  }

  /// What a block has of each tensor of its expert.
  package func parts(
    of block: FloatBuffer, _ names: ExpertNames
  ) -> [(name: String, part: Matrix)] {
    let parts = [
      (names.first, matrix(0, of: block)), (names.second, matrix(1, of: block)),
      (names.third, isGated ? matrix(2, of: block) : nil),
      (names.firstBias, firstBias(of: block)), (names.secondBias, secondBias(of: block)),
    ]
    return parts.compactMap { name, part in
      if let name, let part { (name, part) } else { nil }
    }
  }
}

import Base
import Kernels

/// The initial weights of an expert of `TinyRun`: 64 hidden units of width 32 in two slices.
struct TinyExpert {
  let seed: UInt64
  let expert: Int

  /// Of W1 (0) or of W2 transposed (1), of the first layer with experts.
  func weight(_ matrix: Int, _ unit: Int, _ column: Int) -> Float {
    let bound = (6 / Float(32 + 64)).squareRoot()
    let fill = UniformFill(
      seed: seed, block: .expert(layer: 0, expert, slice: unit / 32), bound: bound)
    return fill.weight(matrix * 32 * 32 + unit % 32 * 32 + column)
  }
}

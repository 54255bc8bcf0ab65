package import Layers

/// What the configuration says of the model beyond its geometry.
package struct ZcodeOptions: Sendable {
  package var capacityFactor = 1.0
  package var evalCapacityFactor = 2.0
  package var minCapacity = 4
  package var tokenSelection = TokenSelection.random
  package var jitter: Float = 0
  package var auxLossCoefficient: Float = 0.01
  package var labelSmoothing: Float = 0
  package var seed: UInt64 = 1

  package init() {}

  /// The most rows that one expert takes of a micro-batch of `rows`, in training and evaluation.
  package func expertRows(_ shape: ZcodeShape, rows: Int) -> Int {
    let factor = max(capacityFactor, evalCapacityFactor)
    return max(Int((Double(rows) * factor / Double(shape.experts)).rounded(.up)), minCapacity)
  }

  func gate(_ shape: ZcodeShape, _ limits: BatchLimits, _ mode: ZcodeModel.Mode) -> Gate {
    let factor: Double? =
      switch mode {
      case .training: capacityFactor
      case .evaluation: evalCapacityFactor
      case .generation: nil
      }
    return Gate(
      experts: shape.experts, width: shape.width, tokensMax: limits.microBatchRows,
      capacityFactor: factor, capacityMinimum: minCapacity, selection: tokenSelection,
      jitter: mode == .training ? jitter : 0, seed: seed)
  }
}

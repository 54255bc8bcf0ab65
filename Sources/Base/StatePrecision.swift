/// How each of the optimizer's two moments is kept on disk and in page frames.
package enum StatePrecision: String, Codable, CaseIterable, Sendable {
  case fp32, bf16
  /// A byte a value, and a scale for each `valuesPerScale` values.
  case int8

  /// Values of `int8` that share a scale. Block-wise scales are those of Dettmers et al., "8-bit
  /// optimizers via block-wise quantization", ICLR 2022, with larger blocks there: one large value
  /// costs only its 255 neighbours precision.
  package static let valuesPerScale = 256

  /// Bytes of one moment of `count` parameters.
  package func byteCount(_ count: Int) -> Int {
    switch self {
    case .fp32: 4 * count
    case .bf16: 2 * count
    case .int8: Self.scaleOffset(count) + 4 * Self.scaleCount(count)
    }
  }

  /// Of `int8`: where the scales start behind `count` codes; floats are aligned to 4.
  package static func scaleOffset(_ count: Int) -> Int { roundUp(count, to: 4) }
  /// Of `int8`: how many there are.
  package static func scaleCount(_ count: Int) -> Int {
    (count + valuesPerScale - 1) / valuesPerScale
  }
}

/// How the weights are kept that the optimizer adds to.
package enum MasterPrecision: String, Codable, CaseIterable, Sendable {
  /// All 32 bits, in the planes `hi` and `lo`.
  case fp32
  /// The upper half alone: each update is rounded stochastically.
  case bf16
}

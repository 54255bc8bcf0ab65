/// One side of a global batch: the rows of all micro-batches back to back, each micro-batch made of
/// whole sequences back to back. There is no padding.
package struct PackedSide: Sendable {
  /// One token per row.
  package private(set) var tokens: [Int32] = []
  /// The rows of each sequence, in order, without gaps.
  package private(set) var sequences: [Range<Int>] = []
  /// The rows of each micro-batch.
  package private(set) var microBatches: [Range<Int>] = []
  /// The sequences of each micro-batch.
  package private(set) var sequencesOfMicroBatch: [Range<Int>] = []

  package init() {}

  package var rows: Int { tokens.count }

  /// Appends a micro-batch: its tokens and its sequences, counted from its first row.
  package mutating func append(tokens new: [Int32], sequences lengths: [Range<Int>]) {
    precondition(lengths.last?.upperBound ?? 0 == new.count, "sequences cover the micro-batch")
    let (row, sequence) = (tokens.count, sequences.count)
    tokens += new
    sequences += lengths.map { row + $0.lowerBound..<row + $0.upperBound }
    microBatches.append(row..<tokens.count)
    sequencesOfMicroBatch.append(sequence..<sequences.count)
  }
}

/// A global batch of translations: sequence n of the target belongs to sequence n of the source.
package struct PackedBatch: Sendable {
  package var source = PackedSide()
  /// Decoder input: a start token, then the target.
  package var target = PackedSide()
  /// What each decoder row is to predict: the target, then an end token.
  package var labels: [Int32] = []

  package init() {}

  package func side(_ side: Side) -> PackedSide { side == .encoder ? source : target }
}

import Layers

/// One side of a global batch: the rows of all micro-batches back to back, each micro-batch made of
/// whole sequences back to back. Training packs without padding; a sequence may end in padding all
/// the same, to compute what others compute.
package struct PackedSide: Sendable {
  /// One token per row.
  package private(set) var tokens: [Int32] = []
  /// The rows of each sequence, in order, without gaps.
  package private(set) var sequences: [Range<Int>] = []
  /// The rows of each sequence that are no padding.
  package private(set) var keys: [Range<Int>] = []
  /// The task of each sequence; empty where nobody named them.
  package private(set) var tasks: [SequenceTask] = []
  /// The rows of each micro-batch.
  package private(set) var microBatches: [Range<Int>] = []
  /// The sequences of each micro-batch.
  package private(set) var sequencesOfMicroBatch: [Range<Int>] = []

  package init() {}

  package var rows: Int { tokens.count }

  /// Appends a micro-batch: its tokens and its sequences, counted from its first row.
  /// - Parameters:
  ///   - tokensOfSequences: how many rows of each sequence are tokens; what follows is padding. nil:
  ///     all.
  ///   - tasks: of each sequence; empty where nobody named them.
  package mutating func append(
    tokens new: [Int32], sequences lengths: [Range<Int>], tokensOfSequences: [Int]? = nil,
    tasks named: [SequenceTask] = []
  ) {
    precondition(lengths.last?.upperBound ?? 0 == new.count, "sequences cover the micro-batch")
    precondition(
      named.isEmpty
        ? tasks.isEmpty : named.count == lengths.count && tasks.count == sequences.count,
      "every sequence has a task, or none")
    let (row, sequence) = (tokens.count, sequences.count)
    tokens += new
    tasks += named
    sequences += lengths.map { row + $0.lowerBound..<row + $0.upperBound }
    keys += lengths.enumerated().map { index, rows in
      let count = tokensOfSequences?[index] ?? rows.count
      precondition(1...rows.count ~= count, "a sequence has a token")
      return row + rows.lowerBound..<row + rows.lowerBound + count
    }
    microBatches.append(row..<tokens.count)
    sequencesOfMicroBatch.append(sequence..<sequences.count)
  }

  /// The sequences of a micro-batch, counted from its first row.
  func sequences(of microBatch: Int) -> [Range<Int>] {
    fromFirstRow(sequences, microBatch)
  }

  /// Their rows that are looked at: all but padding.
  func keys(of microBatch: Int) -> [Range<Int>] { fromFirstRow(keys, microBatch) }

  /// The tasks of the sequences of a micro-batch.
  func tasks(of microBatch: Int) -> [SequenceTask] {
    tasks.isEmpty ? [] : Array(tasks[sequencesOfMicroBatch[microBatch]])
  }

  /// Whether each row of a micro-batch is a token; nil where all are.
  func isToken(of microBatch: Int) -> [Bool]? {
    let (rows, tokens) = (sequences(of: microBatch), keys(of: microBatch))
    if rows == tokens { return nil }
    return zip(rows, tokens).flatMap { rows, tokens in rows.map { tokens.contains($0) } }
  }

  private func fromFirstRow(_ ranges: [Range<Int>], _ microBatch: Int) -> [Range<Int>] {
    let start = microBatches[microBatch].lowerBound
    return ranges[sequencesOfMicroBatch[microBatch]].map {
      $0.lowerBound - start..<$0.upperBound - start
    }
  }
}

/// A global batch. Of translations: sequence n of the target belongs to sequence n of the source;
/// a decoder alone has a target only.
package struct PackedBatch: Sendable {
  package var source = PackedSide()
  /// Decoder input: with an encoder a start token, then the target.
  package var target = PackedSide()
  /// What each decoder row is to predict; `ignored`: nothing.
  package var labels: [Int32] = []

  /// The label of a row that is not counted.
  package static let ignored = CrossEntropy.ignored

  /// Rows that are counted.
  package var labelCount: Int { labels.count { $0 != Self.ignored } }

  package init() {}

  package func side(_ side: Side) -> PackedSide { side == .encoder ? source : target }
}

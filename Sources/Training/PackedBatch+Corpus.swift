package import Corpus
package import Models

extension PackedBatch {
  /// A global batch: its micro-batches back to back.
  package init(_ microBatches: [MicroBatch]) {
    self.init()
    for microBatch in microBatches {
      source.append(tokens: microBatch.sourceTokens, sequences: microBatch.sourceSegments)
      target.append(tokens: microBatch.targetInput, sequences: microBatch.targetSegments)
      labels += microBatch.targetOutput
    }
  }

  /// Source and target tokens.
  package var tokens: Int { source.rows + target.rows }
}

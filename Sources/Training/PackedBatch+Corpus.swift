package import Corpus
package import Models

extension PackedBatch {
  /// The global batch of `step`: its micro-batches back to back.
  package init(_ sampler: BatchSampler, step: Int, microBatches: Int) {
    self.init((0..<microBatches).map { sampler.microBatch(step: step, index: $0) })
  }

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

package import Corpus
package import Models

extension PackedBatch {
  /// A global batch: its micro-batches back to back.
  package init(_ microBatches: [MicroBatch]) {
    self.init()
    for microBatch in microBatches {
      let tasks = microBatch.tasks.compactMap(SequenceTask.init)
      source.append(
        tokens: microBatch.sourceTokens, sequences: microBatch.sourceSegments,
        tasks: microBatch.sourceSegments.isEmpty ? [] : tasks)
      target.append(
        tokens: microBatch.targetInput, sequences: microBatch.targetSegments, tasks: tasks)
      labels += microBatch.targetOutput
    }
  }

  /// Source and target tokens.
  package var tokens: Int { source.rows + target.rows }
}

extension SequenceTask {
  /// nil of a task whose languages nobody named.
  init?(_ task: TrainingTask) {
    switch task.kind {
    case .translate, .denoise:
      self.init(source: task.source.rawValue, target: task.target.rawValue)
    case .pair, .text, .chat: return nil
    }
  }
}

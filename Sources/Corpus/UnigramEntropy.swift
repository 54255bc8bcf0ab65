import Foundation

/// What a model that knows only how often each token occurs would score: the entropy of the
/// empirical distribution of `tokens`, in nats per token. A trained model has to be below it.
package func unigramEntropy(of tokens: some Sequence<Int32>) -> Double {
  var counts: [Int32: Int] = [:]
  for token in tokens { counts[token, default: 0] += 1 }
  let total = Double(counts.values.reduce(0, +))
  // Summed in the order of the tokens: a dictionary's own order changes from run to run.
  return counts.keys.sorted().reduce(0) { sum, token in
    let share = Double(counts[token] ?? 0) / total
    return sum - share * log(share)
  }
}

extension [HeldOut.TaskBatches] {
  /// The unigram entropy of all target tokens, the end of each sequence included.
  package var unigramEntropy: Double { Corpus.unigramEntropy(of: targetTokens { _ in true }) }

  /// The same for one kind of task; nil when there is none.
  package func unigramEntropy(of kind: TrainingTask.Kind) -> Double? {
    let tokens = targetTokens { $0.kind == kind }
    return tokens.isEmpty ? nil : Corpus.unigramEntropy(of: tokens)
  }

  private func targetTokens(_ admits: (TrainingTask) -> Bool) -> [Int32] {
    filter { admits($0.task) }.flatMap { $0.batches.flatMap(\.targetOutput) }
  }
}

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

/// A model that knows how often each token occurs in the training text of one language, and nothing
/// else. Counts are smoothed by one, so that no token is impossible.
package struct UnigramModel: Sendable {
  private let nats: [Double]

  package init(_ corpus: ParallelCorpus, _ language: LanguageIndex) {
    var counts = [Int](repeating: 1, count: corpus.vocabularySize)
    for segment in corpus.training.segments(language, and: language) {
      for token in corpus.training.tokens(segment, language) { counts[Int(token)] += 1 }
      counts[Int(SpecialTokens.end)] += 1
    }
    let total = Double(counts.reduce(0, +))
    nats = counts.map { log(total / Double($0)) }
  }

  /// Mean negative log likelihood of `tokens`, in nats per token.
  package func crossEntropy(of tokens: some Collection<Int32>) -> Double {
    tokens.reduce(0) { $0 + nats[Int($1)] } / Double(max(1, tokens.count))
  }
}

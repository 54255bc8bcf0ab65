import Corpus
import Foundation
import TestSupport
import Testing

private func heldOut() throws -> HeldOut {
  try HeldOut(
    corpus: Fixture.shared.corpus,
    limits: BatchSampler.Limits(microBatchTokens: 120, maxSequenceTokens: 80))
}

@Test func evaluationCoversEveryTaskWithinItsBudget() throws {
  let corpus = try Fixture.shared.corpus
  let budget = 100
  let batches = try heldOut().evaluationBatches(tokensPerTaskMax: budget)
  var tokens: [String: Int] = [:]
  for batch in batches {
    #expect(batch.sourceTokenCount <= 120 && batch.targetTokenCount <= 120)
    for (task, rows) in zip(batch.tasks, batch.targetSegments) {
      tokens[corpus.name(of: task), default: 0] += rows.count
    }
  }
  #expect(tokens.values.allSatisfy { $0 <= budget })
  #expect(
    Set(tokens.keys).isSuperset(of: [
      "translate de-en", "translate en-de", "denoise en", "denoise de",
    ]))
  // Packed as full as training's: of two neighbours neither could have taken the other in.
  for (one, next) in zip(batches, batches.dropFirst()) {
    #expect(
      one.sourceTokenCount + next.sourceTokenCount > 120
        || one.targetTokenCount + next.targetTokenCount > 120)
  }
  #expect(try heldOut().evaluationBatches(tokensPerTaskMax: budget) == batches)
}

/// References are the raw text, also where the vocabulary could not spell it.
@Test func samplesPairRawTexts() throws {
  let fixture = try Fixture.shared
  let sentences = try Sentences.all()
  let german = try #require(fixture.corpus.manifest.index(of: "de"))
  let samples = try heldOut().translationSamples([(german, .english)], count: 5)[0]
  #expect(!samples.isEmpty && samples.count <= 5)
  for sample in samples {
    let place = try #require(sentences["de"]?.firstIndex(of: sample.sourceText))
    #expect(sample.referenceText == sentences["en"]?[place])
    #expect(sample.sourceTokens == fixture.tokenizer.source(sample.sourceText, into: .english))
  }
}

@Test func entropyIsThatOfTheCounts() throws {
  #expect(unigramEntropy(of: [5, 5, 5]) == 0)
  #expect(abs(unigramEntropy(of: [1, 2, 3, 4]) - log(4)) < 1e-12)
  let mixed = unigramEntropy(of: [1, 1, 1, 2])
  #expect(abs(mixed - (0.75 * log(4.0 / 3) + 0.25 * log(4))) < 1e-12)
}

/// Text of its own language is likelier than another's under a language's counts.
@Test func unigramModelsKnowTheirLanguage() throws {
  let corpus = try Fixture.shared.corpus
  let german = try #require(corpus.manifest.index(of: "de"))
  let models = [LanguageIndex.english, german].map { UnigramModel(corpus, $0) }
  let segment = try #require(corpus.heldOut.segments(german, and: german).first)
  let tokens = corpus.heldOut.tokens(segment, german).map { Int32($0) }
  #expect(models[1].crossEntropy(of: tokens) < models[0].crossEntropy(of: tokens))
  #expect(models[1].crossEntropy(of: tokens) < log(600))
}

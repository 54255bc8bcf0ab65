import Corpus
import Foundation
import TestSupport
import Testing

private func heldOut() throws -> HeldOut {
  try HeldOut(
    corpus: Fixture.shared.corpus,
    limits: BatchSampler.Limits(microBatchTokens: 120, maxSequenceTokens: 80),
    noise: DenoisingNoise())
}

@Test func evaluationCoversEveryTaskWithinItsBudget() throws {
  let corpus = try Fixture.shared.corpus
  let budget = 100
  let evaluation = try heldOut().evaluationBatches(tokensPerTaskMax: budget)
  for task in evaluation {
    #expect(task.targetTokenCount <= budget)
    for batch in task.batches {
      #expect(batch.tasks.allSatisfy { $0 == task.task })
      #expect(batch.sourceTokenCount <= 120 && batch.targetTokenCount <= 120)
    }
  }
  let names = Set(evaluation.map { corpus.name(of: $0.task) })
  #expect(names.isSuperset(of: ["translate de-en", "translate en-de", "denoise en", "denoise de"]))
  let again = try heldOut().evaluationBatches(tokensPerTaskMax: budget)
  #expect(again.map(\.batches) == evaluation.map(\.batches))
}

/// References are the raw text, also where the vocabulary could not spell it.
@Test func samplesPairRawTexts() throws {
  let fixture = try Fixture.shared
  let sentences = try Sentences.all()
  let german = try #require(fixture.corpus.manifest.index(of: "de"))
  let samples = try heldOut().translationSamples(from: german, to: .english, count: 5)
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

  let evaluation = try heldOut().evaluationBatches(tokensPerTaskMax: 1000)
  let tokens = evaluation.flatMap { $0.batches.flatMap(\.targetOutput) }
  #expect(evaluation.unigramEntropy == unigramEntropy(of: tokens))
  let denoise = try #require(evaluation.unigramEntropy(of: .denoise))
  #expect(denoise > 1 && denoise < log(600))
}

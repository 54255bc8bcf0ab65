import Corpus
import Foundation
import Testing

/// Prepares the real packages; needs `tools/setup data` and PAGODA_PACKAGES=DIR.
@Test(.enabled(if: ProcessInfo.processInfo.environment["PAGODA_PACKAGES"] != nil))
func theRealPackagesMakeACorpus() throws {
  let packages = try #require(ProcessInfo.processInfo.environment["PAGODA_PACKAGES"])
  var options = CorpusPreparation.Options()
  options.languages = .tags([
    "de", "fr", "es", "it", "pt_BR", "nl", "sv", "pl", "cs", "ru", "uk", "tr", "ja", "ko",
    "zh_Hans", "ar", "he", "hi", "el", "fi", "hu", "vi", "id", "fa",
  ])
  let output = "\(packages)/../corpus24"
  let clock = ContinuousClock()
  let start = clock.now
  let manifest = try CorpusPreparation(
    inputs: ["\(packages)/mediawiki", "\(packages)/gnome-user-docs"], output: output,
    options: options
  ).run { print(clock.now - start, $0) }
  print(clock.now - start, "done")
  for language in manifest.languages {
    print(
      language.tag, language.trainingSegments, language.heldOutSegments, language.trainingTokens)
  }
  let corpus = try ParallelCorpus.open(output)
  print(clock.now - start, "opened", try ParallelCorpus.memory(of: output))
  #expect(corpus.languageCount == 25)
  for language in corpus.languages {
    #expect(corpus.training.segments(language, and: language).count > 1500)
  }

  let sampler = try BatchSampler(
    corpus: corpus, mix: TaskMix(), seed: 1,
    limits: BatchSampler.Limits(microBatchTokens: 2048, maxSequenceTokens: 256))
  let sampling = clock.now
  let tokens = (0..<1000).reduce(0) { $0 + sampler.microBatch(step: $1, index: 0).targetTokenCount }
  print(clock.now - sampling, "for", tokens, "target tokens,", sampler.residentBytes, "bytes")
  #expect(tokens > 1000 * 1500)
  let heldOut = HeldOut(corpus: corpus, limits: sampler.limits, noise: DenoisingNoise())
  let evaluation = heldOut.evaluationBatches(tokensPerTaskMax: 4000)
  #expect(unigramEntropy(of: evaluation.flatMap(\.targetOutput)) > 6)
}

import Corpus
import Foundation
import TestSupport
import Testing

/// What `tools/setup data` unpacks, in the root of the repository.
private let packages = URL(fileURLWithPath: #filePath)
  .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
  .appending(path: "data/packages").path

/// Prepares the real packages, where they are.
@Test(.enabled(if: FileManager.default.fileExists(atPath: packages + "/mediawiki")))
func theRealPackagesMakeACorpus() throws {
  let directory = try TemporaryDirectory()
  var options = CorpusPreparation.Options()
  options.languages = .tags(["de", "fr", "es", "ru", "ja", "ar"])
  options.segmentsPerLanguageMax = 3000
  options.tokenizer.sampleBytesMax = 1_000_000
  options.tokenizer.vocabularySize = 4000
  let names = ["mediawiki", "gnome-user-docs"].filter {
    FileManager.default.fileExists(atPath: "\(packages)/\($0)")
  }
  let output = directory.path + "/corpus"
  try CorpusPreparation(
    inputs: names.map { "\(packages)/\($0)" }, output: output, options: options
  ).run()

  let corpus = try ParallelCorpus.open(output)
  #expect(corpus.languageCount == 7)
  for language in corpus.languages {
    #expect(corpus.training.segments(language, and: language).count > 1500)
    #expect(corpus.heldOut.segments(language, and: language).count > 50)
  }

  let english = corpus.languages[0]
  let tokenizer = try corpus.tokenizer()
  let training = Set(
    (0..<corpus.training.segmentCount).map { segment in
      tokenizer.decode(corpus.training.tokens(segment, english).map { Int32($0) })
    })
  let heldOut = Set(try corpus.heldOutText().map { $0[english.rawValue] })
  #expect(training.count > 1500 && heldOut.count > 50)
  #expect(training.isDisjoint(with: heldOut))

  let sampler = try BatchSampler(
    corpus: corpus, mix: TaskMix(), seed: 1,
    limits: BatchSampler.Limits(microBatchTokens: 2048, maxSequenceTokens: 256))
  let tokens = (0..<100).reduce(0) { $0 + sampler.microBatch(step: $1, index: 0).targetTokenCount }
  #expect(tokens > 100 * 1500)
  let evaluation = try HeldOut(corpus: corpus, limits: sampler.limits)
    .evaluationBatches(tokensPerTaskMax: 4000)
  #expect(unigramEntropy(of: evaluation.flatMap(\.targetOutput)) > 5)
}

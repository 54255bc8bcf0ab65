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
}

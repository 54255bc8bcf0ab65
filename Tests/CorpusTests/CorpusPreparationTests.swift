import Corpus
import Foundation
import TestSupport
import Testing

@Test func aCorpusTellsWhatItHolds() throws {
  let corpus = try Fixture.shared.corpus
  let manifest = corpus.manifest
  #expect(manifest.languages.map(\.tag) == ["en", "de", "fr", "ru"])
  #expect(manifest.vocabularySize == 600)
  #expect(manifest.trainingSegments + manifest.heldOutSegments == 44)
  #expect(manifest.heldOutSegments > 0)
  // German is complete, French has every second sentence, Russian every fourth.
  let counts = manifest.languages.map { $0.trainingSegments + $0.heldOutSegments }
  #expect(counts == [44, 44, 22, 11])
  #expect(manifest.sources.map(\.name) == ["package"])
  #expect(manifest.sources.map(\.licence) == ["CC0-1.0"])
  #expect(manifest.sources.map(\.segments) == [77])
  #expect(FileManager.default.fileExists(atPath: corpus.directory + "/licences/package"))
  #expect(!FileManager.default.fileExists(atPath: corpus.directory + ".partial"))
}

@Test func theSameInputsGiveTheSameBytes() throws {
  let fixture = try Fixture.shared
  let again = try CorpusPreparation(
    inputs: [fixture.directory.path + "/package"], output: fixture.directory.path + "/again",
    options: Fixture.options
  ).run()
  #expect(again == fixture.corpus.manifest)
}

/// Decodes what training sees, and looks for held-out text in it, in every language.
@Test func noHeldOutTextIsInTraining() throws {
  let fixture = try Fixture.shared
  let corpus = fixture.corpus
  let heldOut = try corpus.heldOutText()
  #expect(heldOut.count == corpus.heldOut.segmentCount)
  for language in corpus.languages {
    let training = Set(
      (0..<corpus.training.segmentCount).map { segment in
        fixture.tokenizer.decode(corpus.training.tokens(segment, language).map { Int32($0) })
      })
    for (segment, row) in heldOut.enumerated() where !row[language.rawValue].isEmpty {
      #expect(!training.contains(row[language.rawValue]))
      let decoded = fixture.tokenizer.decode(
        corpus.heldOut.tokens(segment, language).map { Int32($0) })
      #expect(decoded == row[language.rawValue])
    }
  }
}

/// A sentence that two packages hold in different languages stays on one side of the split.
@Test func theSplitFollowsTheEnglishText() throws {
  let directory = try TemporaryDirectory()
  let sentences = try Sentences.all()
  let english = try #require(sentences["en"])
  for (package, tag) in [("a", "de"), ("b", "fr")] {
    for column in ["en", tag] {
      var messages: [String: String] = [:]
      for (i, text) in (sentences[column] ?? []).enumerated() { messages["\(package)\(i)"] = text }
      try directory.writeMessages(messages, "\(package)/i18n/\(column).json")
    }
  }
  var options = Fixture.options
  options.languages = .top(2)
  let output = directory.path + "/corpus"
  let manifest = try CorpusPreparation(
    inputs: [directory.path + "/a", directory.path + "/b"], output: output, options: options
  ).run()
  #expect(manifest.trainingSegments + manifest.heldOutSegments == english.count)
  let first = manifest.languages[0]
  for language in manifest.languages {
    #expect(language.trainingSegments == first.trainingSegments)
    #expect(language.heldOutSegments == first.heldOutSegments)
  }
}

@Test func mallardPagesAreUsedWhereTheirBlocksMatch() throws {
  let directory = try TemporaryDirectory()
  try Fixture.writePackage(directory, "package")
  func page(_ blocks: [String]) -> String {
    "<page xmlns=\"http://projectmallard.org/1.0/\"><info><desc>\(blocks[0])</desc></info>"
      + "<title>\(blocks[1])</title>"
      + blocks.dropFirst(2).map { "<p>\($0)</p>" }.joined() + "</page>"
  }
  let help = "package/usr/share/help"
  try directory.write(
    page([
      "Ring the bell at noon", "How to ring the bell",
      "Press <gui>the big <em>bell</em></gui>\n button &amp; wait.",
    ]), "\(help)/C/bell/ring.page")
  try directory.write(
    page([
      "Mittags die Glocke läuten", "So läutet man die Glocke",
      "Den <gui>großen Knopf</gui> drücken\n und warten.",
    ]), "\(help)/de/bell/ring.page")
  // One paragraph is missing, so nothing says which of the others belong together.
  try directory.write(
    page(["Sonner la cloche à midi", "Sonner la cloche"]), "\(help)/fr/bell/ring.page")
  try directory.write("<page><p>Обрыв", "\(help)/ru/bell/ring.page")

  let manifest = try CorpusPreparation(
    inputs: [directory.path + "/package"], output: directory.path + "/corpus",
    options: Fixture.options
  ).run()
  let counts = manifest.languages.map { $0.trainingSegments + $0.heldOutSegments }
  #expect(counts == [47, 47, 22, 11])
}

@Test func segmentsPerLanguageAreBounded() throws {
  let fixture = try Fixture.shared
  var options = Fixture.options
  options.segmentsPerLanguageMax = 9
  options.heldOutShare = 0
  options.tokenizer.vocabularySize = 420
  let manifest = try CorpusPreparation(
    inputs: [fixture.directory.path + "/package"], output: fixture.directory.path + "/few",
    options: options
  ).run()
  #expect(manifest.languages.dropFirst().map(\.trainingSegments) == [9, 9, 9])
  #expect(manifest.heldOutSegments == 0)
}

/// What an interrupted preparation left is neither used nor in the way; a corpus is replaced whole.
@Test func preparationStartsAfreshAndReplaces() throws {
  let directory = try TemporaryDirectory()
  try Fixture.writePackage(directory, "package")
  try directory.write("", "corpus.partial/.pagoda-unfinished")
  try directory.write("half of it", "corpus.partial/train.bin")
  try directory.write("left over", "corpus.partial/junk")
  let output = directory.path + "/corpus"
  let preparation = CorpusPreparation(
    inputs: [directory.path + "/package"], output: output, options: Fixture.options)
  try preparation.run()
  let first = try ParallelCorpus.open(output)
  try preparation.run()
  #expect(try ParallelCorpus.open(output).manifest == first.manifest)
  let held = try FileManager.default.contentsOfDirectory(atPath: output).sorted()
  #expect(
    held == ["corpus.json", "heldout.bin", "heldout.tsv", "licences", "spm.model", "train.bin"])
  let around = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
  #expect(around == ["corpus", "package"])
}

@Test func anOutputThatCannotBeMadeIsNamed() throws {
  let directory = try TemporaryDirectory()
  try Fixture.writePackage(directory, "package")
  try directory.write("a file", "file")
  let output = directory.path + "/file/corpus"
  let error = #expect(throws: CorpusError.self) {
    try CorpusPreparation(
      inputs: [directory.path + "/package"], output: output, options: Fixture.options
    ).run()
  }
  guard case .unwritable(let path, _)? = error else {
    Issue.record("\(String(describing: error))")
    return
  }
  #expect(path == output + ".partial")
}

@Test func selectionsReadBack() throws {
  for (selection, text) in [
    (LanguageSelection.top(24), "[24]"), (.tags(["de", "pt_BR"]), "[[\"de\",\"pt_BR\"]]"),
  ] {
    let data = try JSONEncoder().encode([selection])
    #expect(String(decoding: data, as: UTF8.self) == text)
    #expect(try JSONDecoder().decode([LanguageSelection].self, from: data) == [selection])
  }
}

@Test func impossibleWishesAreNamed() throws {
  let fixture = try Fixture.shared
  let package = fixture.directory.path + "/package"
  func run(
    _ input: String, _ output: String,
    _ change: (inout CorpusPreparation.Options) -> Void = { _ in }
  ) throws(CorpusError) {
    var options = Fixture.options
    change(&options)
    try CorpusPreparation(
      inputs: [input], output: fixture.directory.path + "/" + output, options: options
    ).run()
  }
  #expect(throws: CorpusError.missingInput(path: package + "-gone")) {
    try run(package + "-gone", "x")
  }
  let empty = try TemporaryDirectory()
  #expect(throws: CorpusError.nothingFound(paths: [empty.path])) { try run(empty.path, "x") }
  #expect(throws: CorpusError.languageWithoutData(tag: "tlh", available: ["de"])) {
    try run(package, "x") { $0.languages = .tags(["de", "tlh"]) }
  }
  let foreign = fixture.directory.path + "/package"
  #expect(throws: CorpusError.notACorpus(path: foreign)) { try run(package, "package") }
  let tooMany = #expect(throws: CorpusError.self) {
    try run(package, "x") { $0.tokenizer.vocabularySize = 20_000 }
  }
  guard case .tokenizer = try #require(tooMany) else {
    Issue.record("\(String(describing: tooMany))")
    return
  }
  #expect(throws: CorpusError.self) {
    try run(package, "x") { $0.tokenizer.vocabularySize = 70_000 }
  }
  #expect(throws: CorpusError.self) { try run(package, "x") { $0.heldOutShare = 0.9 } }
}

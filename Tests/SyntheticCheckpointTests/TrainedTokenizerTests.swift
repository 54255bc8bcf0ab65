import Corpus
import Foundation
import Goldens
import Interchange
import SyntheticCheckpoint
import TestSupport
import Testing
import Tokenizers

/// A tokenizer trained on the sentences of the tests, in a folder with a model of `rows` tokens.
private func tokenizer(
  _ name: String, rows: Int, _ directory: TemporaryDirectory
) throws -> (CheckpointTokenizer, SyntheticCheckpoint.Report) {
  guard
    case .object(var members) = try JSONValue(path: "\(try Golden(name).folder)/config.json")
  else { throw CocoaError(.fileReadCorruptFile) }
  members["vocab_size"] = .integer(rows)
  let checkpoint = try SyntheticCheckpoint(members, path: name)
  let text = try TrainingText(Fixture.shared.corpus.directory, bytesMax: 1 << 20)
  #expect(text.languages == ["__en__", "__de__", "__fr__", "__ru__"])
  let trained = try checkpoint.trainTokenizer(text.lines, languages: text.languages)
  let path = "\(directory.path)/\(name)"
  let report = try checkpoint.write(to: path, tokenizer: trained)
  let tokenizer = try CheckpointTokenizer(folder: path)
  #expect(tokenizer.vocabularySize == trained.tokenCount)
  #expect(tokenizer.vocabularySize <= rows)
  #expect(tokenizer.embeddingRowCount == rows)
  let configuration = try ModelConfiguration("\(path)/config.json")
  #expect(configuration.padToken.map { Int32($0) } == tokenizer.special.padding)
  #expect(configuration.endTokens.first.map { Int32($0) } == tokenizer.special.end)
  return (tokenizer, report)
}

private let sentence = "The house is small, and the garden is green."

@Test func extraIDsOfSwitchCountDownwards() throws {
  let directory = try TemporaryDirectory()
  let (tokenizer, report) = try tokenizer("switch-tiny", rows: 800, directory)
  let pieces = Int32(try #require(report.tokenizerPieces))
  #expect(tokenizer.id(of: "<extra_id_99>") == pieces)
  #expect(tokenizer.id(of: "<extra_id_0>") == pieces + 99)
  let ids = try tokenizer.encode(sentence, addSpecialTokens: true)
  #expect(ids.last == 1 && ids.count < sentence.utf8.count)
  #expect(tokenizer.decode(ids, skipSpecialTokens: true) == sentence)
}

@Test func languagesOfNLLBFollowThePieces() throws {
  let directory = try TemporaryDirectory()
  let (tokenizer, report) = try tokenizer("nllb-moe-tiny", rows: 600, directory)
  let pieces = Int32(try #require(report.tokenizerPieces))
  for (index, tag) in ["__en__", "__de__", "__fr__", "__ru__"].enumerated() {
    #expect(tokenizer.id(of: tag) == pieces + 1 + Int32(index))
  }
  let ids = try tokenizer.encode(sentence, addSpecialTokens: true)
  #expect(ids.first == tokenizer.id(of: "__en__") && ids.last == 2)
  #expect(tokenizer.decode(ids, skipSpecialTokens: true) == sentence)
}

@Test func decodersBeginTextsAsLlamaDoes() throws {
  let directory = try TemporaryDirectory()
  let (tokenizer, _) = try tokenizer("olmoe-tiny", rows: 1200, directory)
  // With bytes: nothing is unknown, and nothing is lost.
  for text in [sentence, "  two  \u{1f600} \u{4e2d}"] {
    let ids = try tokenizer.encode(text, addSpecialTokens: true)
    #expect(ids.first == 1 && !ids.contains(0))
    #expect(tokenizer.decode(ids, skipSpecialTokens: true) == text)
  }
}

@Test func aFileOfTextIsAsGoodAsACorpus() throws {
  let directory = try TemporaryDirectory()
  try directory.write("one line\r\n\nanother line\n", "text")
  let text = try TrainingText("\(directory.path)/text", bytesMax: 1000)
  #expect(text.lines == ["one line", "another line"])
  #expect(try TrainingText("\(directory.path)/text", bytesMax: 8).lines == ["one line"])
  try directory.write("", "empty")
  for name in ["empty", "none"] {
    #expect(throws: SynthesisError.self) {
      _ = try TrainingText("\(directory.path)/\(name)", bytesMax: 8)
    }
  }
}

@Test func tooFewLinesAreAnError() throws {
  let checkpoint = try SyntheticCheckpoint(
    try #require(PublishedSize(named: "switch-base-8")).configuration, path: "config.json")
  #expect(throws: (any Error).self) { _ = try checkpoint.trainTokenizer([], languages: ["en"]) }
}

import Foundation
import TestSupport
import Testing
import Tokenizers

/// Ids and texts of transformers for checkpoints with a SentencePiece model.
private struct Layouts: Decodable {
  struct Layout: Decodable {
    let ids: [[Int32]]
    let skipped: [String]
    let size: Int
  }

  let probe: [String]
  let t5: Layout
  let nllb: Layout
  let llama: Layout
}

@Test(arguments: ["t5", "nllb", "llama"])
func layoutsAreThoseOfTransformers(name: String) throws {
  let golden = try Resource.decode(Layouts.self, "layouts/golden.json")
  let layout = ["t5": golden.t5, "nllb": golden.nllb, "llama": golden.llama][name]
  let expected = try #require(layout)
  let tokenizer = try CheckpointTokenizer(folder: Resource.path("layouts/\(name)"))
  #expect(tokenizer.vocabularySize == expected.size)
  for (index, text) in golden.probe.enumerated() {
    #expect(try tokenizer.encode(text, addSpecialTokens: true) == expected.ids[index], "\(text)")
    let skipped = tokenizer.decode(expected.ids[index], skipSpecialTokens: true)
    #expect(isExactly(skipped, expected.skipped[index]), "\(text)")
  }
}

/// Without a list of added tokens, as in checkpoints of the time, the layout gives their places.
@Test func languageCodesFollowThePieces() throws {
  let path = Resource.path("layouts/nllb/sentencepiece.bpe.model")
  let plain = try CheckpointTokenizer(
    sentencePiece: path, layout: .plain(addsStart: false, addsEnd: false))
  let count = Int32(plain.vocabularySize)
  let tokenizer = try CheckpointTokenizer(
    sentencePiece: path, layout: .fairseq(languages: ["eng_Latn", "fra_Latn"], source: "fra_Latn"))

  for (id, token) in [(Int32(0), "<s>"), (1, "<pad>"), (2, "</s>"), (3, "<unk>")] {
    #expect(tokenizer.token(of: id) == token)
    #expect(tokenizer.id(of: token) == id)
  }
  for id in 3..<count { #expect(tokenizer.token(of: id + 1) == plain.token(of: id)) }
  #expect(tokenizer.id(of: "eng_Latn") == count + 1)
  #expect(tokenizer.id(of: "fra_Latn") == count + 2)
  #expect(tokenizer.id(of: "<mask>") == count + 3)

  let text = "two spaces"
  let pieces = try plain.encode(text, addSpecialTokens: false)
  let ids = try tokenizer.encode(text, addSpecialTokens: true)
  #expect(ids == [count + 2] + pieces.map { $0 + 1 } + [2])
  #expect(tokenizer.decode(ids, skipSpecialTokens: true) == text)
  #expect(tokenizer.decode(ids, skipSpecialTokens: false) == "fra_Latn \(text) </s>")
}

@Test func extraIDsCountDownwards() throws {
  let path = Resource.path("layouts/t5/spiece.model")
  let tokenizer = try CheckpointTokenizer(sentencePiece: path, layout: .t5(extraIDCount: 100))
  let size = Int32(tokenizer.vocabularySize)
  #expect(tokenizer.id(of: "<extra_id_0>") == size - 1)
  #expect(tokenizer.id(of: "<extra_id_99>") == size - 100)
  let ids = try tokenizer.encode("two <extra_id_1> three", addSpecialTokens: false)
  #expect(ids.contains(size - 2))
  #expect(tokenizer.decode(ids, skipSpecialTokens: false) == "two <extra_id_1> three")
}

/// Rows beyond the tokens are no tokens: asking for them or decoding them is no error.
@Test func paddingOfTheEmbeddingHasNoTokens() throws {
  let tokenizer = try CheckpointTokenizer(folder: Resource.path("layouts/t5"))
  #expect(tokenizer.embeddingRowCount == 320)
  #expect(tokenizer.vocabularySize == 290)
  for id in [Int32(290), 319, 5000, -1, .max, .min] {
    #expect(tokenizer.token(of: id) == nil)
    #expect(tokenizer.decode([id], skipSpecialTokens: false) == "")
  }
  #expect(tokenizer.id(of: "no such token") == nil)
}

@Test func specialIDsComeFromTheSmallFiles() throws {
  let t5 = try CheckpointTokenizer(folder: Resource.path("layouts/t5"))
  #expect(t5.special == .init(start: nil, end: 1, padding: 0, unknown: 2))
  let nllb = try CheckpointTokenizer(folder: Resource.path("layouts/nllb"))
  #expect(nllb.special == .init(start: 0, end: 2, padding: 1, unknown: 3))

  let directory = try TemporaryDirectory()
  try directory.write(TinyTokenizer.text, "tokenizer.json")
  #expect(try CheckpointTokenizer(folder: directory.path).special == .init())
  try directory.write(#"{"bos_token_id": 1, "eos_token_id": [0, 2]}"#, "config.json")
  #expect(try CheckpointTokenizer(folder: directory.path).special == .init(start: 1, end: 0))
  try directory.write(#"{"eos_token": {"content": "ab"}}"#, "special_tokens_map.json")
  try directory.write(#"{"bos_token": "b", "pad_token": null}"#, "tokenizer_config.json")
  #expect(try CheckpointTokenizer(folder: directory.path).special == .init(start: 1, end: 2))
  try directory.write(#"{"bos_token": "x"}"#, "tokenizer_config.json")
  expectError(contains: "`x` is not in the vocabulary") {
    try CheckpointTokenizer(folder: directory.path)
  }
}

@Test func aFolderWithoutTokenizerIsAnError() throws {
  let directory = try TemporaryDirectory()
  expectError(contains: "spiece.model") { try CheckpointTokenizer(folder: directory.path) }
  try directory.write("{}", "spiece.model")
  expectError(contains: "no SentencePiece model") {
    try CheckpointTokenizer(folder: directory.path)
  }
  try directory.write(#"{"model_type": "bert"}"#, "config.json")
  expectError(contains: "bert") { try CheckpointTokenizer(folder: directory.path) }
  expectError(contains: "cannot read") {
    try CheckpointTokenizer(tokenizerJSON: "\(directory.path)/none.json")
  }
}

/// Threads that encode at once do not disturb each other's memory of words.
@Test func manyThreadsEncodeAlike() async throws {
  let tokenizer = try CheckpointTokenizer(
    tokenizerJSON: Resource.path("tokenizer.byte_level_bpe.json"))
  let texts = try Sentences.all().values.joined().map { $0 }
  let expected = try texts.map { try tokenizer.encode($0, addSpecialTokens: false) }
  try await withThrowingTaskGroup(of: Bool.self) { group in
    for _ in 0..<4 {
      group.addTask {
        try texts.map { try tokenizer.encode($0, addSpecialTokens: false) } == expected
      }
    }
    for try await isEqual in group { #expect(isEqual) }
  }
}

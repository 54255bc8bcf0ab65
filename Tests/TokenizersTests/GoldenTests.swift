import Foundation
import TestSupport
import Testing
import Tokenizers

/// Files of the test bundle.
enum Resource {
  static func path(_ name: String) -> String {
    Bundle.module.bundleURL.appending(path: "Resources/\(name)").path
  }

  static func decode<Value: Decodable>(_ type: Value.Type, _ name: String) throws -> Value {
    try JSONDecoder().decode(type, from: Data(contentsOf: URL(fileURLWithPath: path(name))))
  }
}

/// Equal by scalars: `==` takes composed and decomposed text for the same.
func isExactly(_ one: String, _ other: String) -> Bool { one.utf8.elementsEqual(other.utf8) }

/// What Hugging Face tokenizers and SentencePiece make of 77 texts.
private struct Golden: Decodable {
  struct Case: Decodable {
    let vocab: Int
    let ids: [[Int32]]
    let decoded: [String]
  }

  let probe: [String]
  let sentencePiece: [String: Case]
  let tokenizers: [String: Case]

  enum CodingKeys: String, CodingKey {
    case probe
    case sentencePiece = "sentencepiece"
    case tokenizers = "tokenizer_json"
  }

  static let shared = Result { try Resource.decode(Golden.self, "golden.json") }

  func check(_ golden: Case, _ tokenizer: CheckpointTokenizer) throws {
    #expect(probe.count == 77)
    #expect(tokenizer.vocabularySize == golden.vocab)
    for (index, text) in probe.enumerated() {
      #expect(
        try tokenizer.encode(text, addSpecialTokens: false) == golden.ids[index], "\(text)")
      let decoded = tokenizer.decode(golden.ids[index], skipSpecialTokens: false)
      #expect(isExactly(decoded, golden.decoded[index]), "\(text)")
    }
  }
}

@Test(arguments: ["byte_level_bpe", "unigram", "sp_bpe_byte_fallback"])
func idsAndTextsAreThoseOfTokenizers(name: String) throws {
  let golden = try Golden.shared.get()
  let tokenizer = try CheckpointTokenizer(tokenizerJSON: Resource.path("tokenizer.\(name).json"))
  try golden.check(#require(golden.tokenizers[name]), tokenizer)
}

@Test(arguments: ["unigram", "bpe"])
func idsAndTextsAreThoseOfSentencePiece(name: String) throws {
  let golden = try Golden.shared.get()
  let tokenizer = try CheckpointTokenizer(
    sentencePiece: Resource.path("sp_\(name).model"),
    layout: .plain(addsStart: false, addsEnd: false))
  try golden.check(#require(golden.sentencePiece[name]), tokenizer)
}

/// Pipelines of all supported parts, and what Hugging Face tokenizers make with them.
private struct Pipelines: Decodable {
  struct Pipeline: Decodable {
    let model: String
    /// The members of the file but the model, as an object.
    let parts: String
    let size: Int
    let cases: [Case]
  }

  struct Case: Decodable {
    let text: String
    let ids: [Int32]
    let shown: String
    let skipped: String
  }

  let models: [String: String]
  let pipelines: [Pipeline]
}

@Test func everyPartDoesAsInTokenizers() throws {
  let golden = try Resource.decode(Pipelines.self, "pipelines.json")
  let directory = try TemporaryDirectory()
  #expect(golden.pipelines.count == 37)
  for pipeline in golden.pipelines {
    let model = try #require(golden.models[pipeline.model])
    try directory.write("{\"model\": \(model),\(pipeline.parts.dropFirst())", "tokenizer.json")
    let tokenizer = try CheckpointTokenizer(folder: directory.path)
    #expect(tokenizer.vocabularySize == pipeline.size)
    for golden in pipeline.cases {
      let ids = try tokenizer.encode(golden.text, addSpecialTokens: true)
      #expect(ids == golden.ids, "\(golden.text) by \(pipeline.parts)")
      let shown = tokenizer.decode(golden.ids, skipSpecialTokens: false)
      #expect(isExactly(shown, golden.shown), "\(golden.text) by \(pipeline.parts)")
      let skipped = tokenizer.decode(golden.ids, skipSpecialTokens: true)
      #expect(isExactly(skipped, golden.skipped), "\(golden.text) by \(pipeline.parts)")
    }
  }
}

import Corpus
import Foundation
import TestSupport
import Testing
import Tokenizers

/// Token sequences of transformers.
private struct Golden: Decodable {
  struct Pair: Decodable {
    let source: String
    let target: String
    let ids: [Int32]
    var languages: [String]?
    var labels: [Int32]?
    var inputs: [Int32]?
    var learned: [Bool]?
  }
  struct Chat: Decodable {
    let template: String
    let messages: [[String: String]]
    let text: String
    let ids: [Int32]
    let learned: [Bool]
  }

  let prefix: String
  let t5: [Pair]
  let nllb: [Pair]
  let plain: [Pair]
  let chat: [Chat]

  static let shared = Result {
    try JSONDecoder().decode(Golden.self, from: Resource.data("sequences.json"))
  }
}

/// What a decoder alone is to learn of `ids`, of which some are `learned`: nothing comes after the
/// last of these.
private func decoderRow(_ ids: [Int32], _ learned: [Bool]) throws -> Row {
  let end = try #require(learned.lastIndex(of: true))
  let labels = (1...end).map { learned[$0] ? ids[$0] : MicroBatch.ignoredLabel }
  return Row(input: Array(ids[..<end]), labels: labels)
}

@Test func pairsForT5AreThoseOfTransformers() throws {
  let golden = try Golden.shared.get()
  let encoder = try t5Encoder(prefix: golden.prefix)
  #expect(golden.t5.count == 4)
  for pair in golden.t5 {
    let text = try line(["source": pair.source, "target": pair.target])
    let corpus = try textCorpus(text, "a.jsonl", encoder)
    let expected = try Row(
      source: pair.ids, input: #require(pair.inputs), labels: #require(pair.labels))
    #expect(try rows(corpus) == [expected])
    let prompt = try encoder.prompt(TextPair(source: pair.source, target: ""))
    #expect(prompt.source == pair.ids && prompt.target == [0])
  }
}

@Test func pairsForNLLBAreThoseOfTransformers() throws {
  let golden = try Golden.shared.get()
  let encoder = try SequenceEncoder(
    TinyTokenizer.nllb(), layout: .languageTagged(start: 2), languageTokens: ["en": "eng_Latn"])
  #expect(golden.nllb.count == 8)
  for pair in golden.nllb {
    let languages = try #require(pair.languages).map { $0 == "eng_Latn" ? "en" : $0 }
    let cells = [pair.source, pair.target, languages[0], languages[1]]
    let corpus = try textCorpus(cells.joined(separator: "\t"), "a.tsv", encoder)
    let expected = try Row(
      source: pair.ids, input: #require(pair.inputs), labels: #require(pair.labels))
    #expect(try rows(corpus) == [expected])
    #expect(corpus.tasks.map(corpus.name) == ["translate \(languages[0])-\(languages[1])"])
    let prompt = try encoder.prompt(
      TextPair(
        source: pair.source, target: "", sourceLanguage: languages[0],
        targetLanguage: languages[1]))
    #expect(prompt.source == pair.ids)
    #expect(prompt.target == Array(expected.input.prefix(2)))
  }
}

/// A decoder alone is given the source and learns the target and its end.
@Test func pairsForDecodersLearnTheTarget() throws {
  let golden = try Golden.shared.get()
  let encoder = try SequenceEncoder(TinyTokenizer.llama(), layout: .decoderOnly())
  for pair in golden.plain {
    let text = try line(["source": pair.source, "target": pair.target])
    let corpus = try textCorpus(text, "a.jsonl", encoder)
    let learned = try #require(pair.learned)
    #expect(try rows(corpus) == [decoderRow(pair.ids, learned)])
    let given = try #require(learned.firstIndex(of: true))
    let prompt = try encoder.prompt(TextPair(source: pair.source, target: ""))
    #expect(prompt.source.isEmpty && prompt.target == Array(pair.ids[..<given]))
  }
}

@Test func conversationsAreThoseOfTheTemplates() throws {
  let golden = try Golden.shared.get()
  #expect(Set(golden.chat.map(\.template)) == Set(ChatTemplate.allCases.map(\.rawValue)))
  for chat in golden.chat {
    let template = try #require(ChatTemplate(rawValue: chat.template))
    let tokenizer =
      template == .mistral ? try TinyTokenizer.llama() : try TinyTokenizer.chat()
    let encoder = try SequenceEncoder(tokenizer, layout: .decoderOnly(chat: template))
    let corpus = try textCorpus(line(["messages": chat.messages]), "a.jsonl", encoder)
    let expected = try decoderRow(chat.ids, chat.learned)
    #expect(try rows(corpus) == [expected], "\(chat.text)")

    let shared = chat.messages.map { message in
      let roles = ["user": "human", "assistant": "gpt", "system": "system"]
      return ["from": roles[message["role"] ?? ""] ?? "", "value": message["content"] ?? ""]
    }
    let same = try textCorpus(line(["conversations": shared]), "a.jsonl", encoder)
    #expect(try rows(same) == [expected])
  }
}

/// What a model is asked with is what stood before the answers it was trained on.
@Test(arguments: ChatTemplate.allCases)
func promptsAreTheBeginningsOfConversations(_ template: ChatTemplate) throws {
  let tokenizer = template == .mistral ? try TinyTokenizer.llama() : try TinyTokenizer.chat()
  let encoder = try SequenceEncoder(
    tokenizer, layout: .decoderOnly(pairs: .chat(prefix: "In French: "), chat: template))
  let corpus = try textCorpus("Hello world\tBonjour le monde\n", "a.tsv", encoder)
  let row = try #require(rows(corpus).first)
  let prompt = try encoder.prompt(TextPair(source: "Hello world", target: ""))
  let question = [ChatMessage(.user, "In French: Hello world")]
  #expect(try encoder.prompt(chat: question) == prompt)
  let given = try #require(row.labels.firstIndex { $0 != MicroBatch.ignoredLabel })
  #expect(prompt.target == Array(row.input[...given]))
  let answer = tokenizer.decode(Array(row.labels[given...]), skipSpecialTokens: true)
  #expect(answer.trimmingCharacters(in: .whitespaces) == "Bonjour le monde")
  #expect(
    row.labels.last
      == tokenizer.id(
        of: template == .chatml || template == .qwen3
          ? "<|im_end|>"
          : template == .tulu ? "<|endoftext|>" : "</s>"))
}

@Test func templatesAreFoundByTheirTokens() throws {
  let chatML = ["<|im_start|>", "<|im_end|>"]
  #expect(try ChatTemplate.detect(TinyTokenizer.chat()) == .qwen3)
  #expect(
    try ChatTemplate.detect(TinyTokenizer.chat(end: "<|im_end|>", special: chatML)) == .chatml)
  #expect(try ChatTemplate.detect(TinyTokenizer.chat(special: ["<|endoftext|>"])) == .tulu)
  #expect(try ChatTemplate.detect(TinyTokenizer.llama()) == .mistral)
  #expect(try ChatTemplate.detect(TinyTokenizer.t5()) == nil)
}

@Test func tokensThatAreMissingAreNamed() throws {
  let llama = try TinyTokenizer.llama()
  #expect {
    try SequenceEncoder(llama, layout: .decoderOnly(chat: .chatml))
  } throws: { "\($0)".contains("<|im_start|>") }

  let nllb = try SequenceEncoder(TinyTokenizer.nllb(), layout: .languageTagged(start: 2))
  #expect {
    try nllb.prompt(TextPair(source: "a", target: "", sourceLanguage: "de", targetLanguage: "en"))
  } throws: { "\($0)".contains("no token `de`") }
  #expect {
    try nllb.prompt(TextPair(source: "a", target: ""))
  } throws: { "\($0)".contains("source_lang") }

  let directory = try TemporaryDirectory()
  let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "TokenizersTests/Resources/tokenizer.unigram.json")
  try directory.write(
    String(decoding: try Data(contentsOf: path), as: UTF8.self), "tokenizer.json")
  let endless = try CheckpointTokenizer(folder: directory.path)
  #expect {
    try SequenceEncoder(endless, layout: .sequenceToSequence(start: 0))
  } throws: { "\($0)".contains("eos_token") }
}

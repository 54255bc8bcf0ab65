import Base
import Corpus
import Foundation
import TestSupport
import Testing

private func format(_ text: String, _ name: String) throws -> TextFormat {
  let directory = try TemporaryDirectory()
  try directory.write(text, name)
  return try TextFormat.detect(path: "\(directory.path)/\(name)")
}

@Test func formatsAreFoundByNameAndContent() throws {
  let pair = #"{"source": "a", "target": "b"}"#
  for (text, name, expected) in [
    ("a\tb", "x.tsv", TextFormat.pairsTSV), ("a\tb", "x.txt", .lines),
    ("{\"text\": 1", "x.txt", .lines),
    ("\n \n" + pair, "x.jsonl", .pairsJSONL), (pair, "x.json", .pairsJSONL),
    (pair, "x", .pairsJSONL),
    (#"{"translation": {"de": "a"}}"#, "x.ndjson", .pairsJSONL),
    (#"{"id": 1, "text": "a"}"#, "x.jsonl", .textJSONL),
    (#"{"messages": []}"#, "x.jsonl", .chatJSONL),
    (#"{"conversations": []}"#, "x.data", .chatJSONL), ("a\tb", "x.data", .pairsTSV),
    ("a b", "x.data", .lines), ("\u{FEFF}" + pair, "x.jsonl", .pairsJSONL),
  ] {
    #expect(try format(text, name) == expected, "\(text) in \(name)")
  }
  #expect { try format("{\"id\": 1}", "x.jsonl") } throws: { "\($0)".contains("`id`") }
  #expect { try format("[{\"text\": 1}]", "x.json") } throws: { "\($0)".contains("jq") }
  #expect { try format("\n \n", "x.jsonl") } throws: { "\($0)".contains("white space") }
  #expect(throws: CorpusError.self) { try TextFormat.detect(path: "/nowhere/x.jsonl") }
}

/// All that holds one pair gives the sequences of that pair.
@Test func pairsAreReadFromEveryFormat() throws {
  let encoder = try t5Encoder()
  let expected = try rows(textCorpus("Guten Tag\tGood day\n", "x.tsv", encoder))
  #expect(expected.count == 1)
  func check(
    _ text: String, _ name: String, tasks: [String] = ["translate de-en"],
    _ change: (inout TextCorpus.Options) -> Void = { _ in }
  ) throws {
    let corpus = try textCorpus(text, name, encoder, change)
    #expect(try rows(corpus) == expected, "\(text)")
    #expect(corpus.tasks.map(corpus.name) == tasks, "\(text)")
  }
  let direction = { (options: inout TextCorpus.Options) in
    (options.sourceLanguage, options.targetLanguage) = ("de", "en")
  }
  let pair = ["source": "Guten Tag", "target": "Good day"]
  try check(line(pair), "x.jsonl", tasks: ["pairs"])
  try check(line(pair), "x.jsonl", direction)
  try check(
    line(pair.merging(["source_lang": "de", "target_lang": "en"]) { $1 }), "x.jsonl")
  let texts = ["de": "Guten Tag", "en": "Good day", "fr": "Bonjour"]
  try check(line(["translation": texts, "id": 3]), "x.jsonl", direction)
  try check("Guten Tag\tGood day\tde\ten\r\n", "x.tsv")
  try check("Guten Tag\tGood day", "x.tsv", direction)
  try check("Target\tid\tSource\nGood day\t7\tGuten Tag\n", "x.tsv", tasks: ["pairs"])
  try check(
    "source_lang\ttarget_lang\tsource\ttarget\nde\ten\tGuten Tag\tGood day\n", "x.tsv")
  try check("en\tfr\tde\nGood day\tBonjour\tGuten Tag\n", "x.tsv", direction)
  try check("\u{FEFF}Guten Tag\tGood day\n\n   \n", "x.anything", tasks: ["pairs"])
  try check("Guten Tag\tGood day\n", "x.txt", tasks: ["pairs"]) { $0.format = .pairsTSV }
}

@Test func documentsAreReadFromEveryFormat() throws {
  let encoder = try SequenceEncoder(TinyTokenizer.llama(), layout: .decoderOnly())
  let expected = try rows(textCorpus("Ein Haus.\nZwei.\n", "x.txt", encoder))
  let objects = try line(["text": "Ein Haus.", "url": "u"]) + line(["text": "Zwei."])
  #expect(try rows(textCorpus(objects, "x.jsonl", encoder)) == expected)
  #expect(try rows(textCorpus("Ein Haus.\r\n\r\nZwei.", "x.txt", encoder)) == expected)
}

/// Each error says file, line, cause and remedy.
@Test func badLinesAreNamed() throws {
  let encoder = try t5Encoder()
  let decoder = try SequenceEncoder(TinyTokenizer.chat(), layout: .decoderOnly())
  func check(
    _ bad: String, _ name: String, _ encoder: SequenceEncoder, good: String, says: String,
    _ change: (inout TextCorpus.Options) -> Void = { _ in }
  ) throws {
    #expect {
      try textCorpus(good + "\n\n" + bad, name, encoder, change)
    } throws: { error in
      guard case CorpusError.badLine(let path, let line, let cause, let remedy) = error else {
        return false
      }
      return path.hasSuffix(name) && line == 3 && cause.contains(says) && !remedy.isEmpty
        && "\(error)".contains("\(name) line 3: \(cause); \(remedy)")
    }
  }
  let pair = #"{"source": "a", "target": "b"}"#
  for (bad, says) in [
    (#"{"source": "a"}"#, "no `target` among `source`"),
    (#"{"source": "a", "target": null}"#, "no `target`"),
    (#"{"source": 1, "target": "b"}"#, "an integer in `source`"),
    (#"{"source": "a", "target": "b", "source_lang": ["de"]}"#, "an array in `source_lang`"),
    (#"{"source": "a", "target": "b""#, "no JSON at byte 29"),
    (#"["a", "b"]"#, "an array where an object is due"), ("nonsense", "no JSON"),
    (#"{"translation": {"de": "a", "en": "b"}}"#, "no direction"),
    ("{\"source\": \"\\ud800\", \"target\": \"b\"}", "surrogate"),
  ] {
    try check(bad, "x.jsonl", encoder, good: pair, says: says)
  }
  try check(
    #"{"translation": {"de": "a", "fr": "b"}}"#, "x.jsonl", encoder, good: pair, says: "no `en`"
  ) { ($0.sourceLanguage, $0.targetLanguage) = ("de", "en") }
  for (bad, says) in [("a", "1 cells"), ("a\tb\tc", "3 cells"), ("a\tb\tde\ten", "4 cells")] {
    try check(bad, "x.tsv", encoder, good: "a\tb", says: says)
  }
  let chat =
    #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}"#
  for (bad, says) in [
    (#"{"messages": "a"}"#, "no array"),
    (#"{"messages": ["a"]}"#, "a string where an object is due"),
    (#"{"messages": [{"role": "user", "content": "a"}]}"#, "without an answer"),
    (#"{"messages": [{"role": "tool", "content": "a"}]}"#, "the role `tool`"),
    (#"{"messages": [{"role": "user"}]}"#, "no `content`"),
    (#"{"messages": [{"role": "assistant", "content": ["b"]}]}"#, "an array in `content`"),
    (#"{"conversations": [{"from": "human", "text": "a"}]}"#, "no `value`"),
    ("{}", "`conversations`"),
  ] {
    try check(bad, "x.jsonl", decoder, good: chat, says: says)
  }
  let mistral = try SequenceEncoder(TinyTokenizer.llama(), layout: .decoderOnly())
  let user = #"{"role": "user", "content": "a"}"#
  try check(
    #"{"messages": [\#(user), \#(user), {"role": "assistant", "content": "b"}]}"#, "x.jsonl",
    mistral, good: chat, says: "two messages of one side")
  try check(#"{"text": 1.5}"#, "x.jsonl", decoder, good: #"{"text": "a"}"#, says: "a number")
}

@Test func bytesThatAreNotUTF8AreNamed() throws {
  let directory = try TemporaryDirectory()
  let path = directory.path + "/x.txt"
  let encoder = try t5Encoder()
  for (bytes, says) in [([0xC3, 0x28], "UTF-8"), ([0x1F, 0x8B, 0x08], "compressed")] {
    try Data([0x61, 0x0A] + bytes.map { UInt8($0) }).write(to: URL(fileURLWithPath: path))
    for format in [TextFormat.lines, .pairsTSV] {
      var options = TextCorpus.Options()
      options.format = format
      #expect {
        try TextCorpus.open(path, encoder: encoder, options: options)
      } throws: {
        "\($0)".contains(format == .lines ? "line 2: " : "line 1: ")
          && (format == .pairsTSV || "\($0)".contains(says))
      }
    }
  }
  try Data(#"{"text": ""#.utf8 + [0xFF] + Array("\"}".utf8)).write(to: URL(fileURLWithPath: path))
  var options = TextCorpus.Options()
  options.format = .textJSONL
  #expect {
    try TextCorpus.open(path, encoder: encoder, options: options)
  } throws: { "\($0)".contains("line 1: no JSON at byte 10: a string that is not UTF-8") }
  #expect {
    try TextCorpus.open(directory.path, encoder: encoder)
  } throws: { "\($0)".contains("directory") }
}

/// Damaged files are read or refused, never a crash: bytes changed, removed and repeated by seed.
@Test(arguments: TextFormat.allCases)
func damagedFilesAreReadOrRefused(_ format: TextFormat) throws {
  let good: [TextFormat: String] = [
    .pairsJSONL: "{\"source\": \"Größe \\u00e9\\n\", \"target\": \"b\", \"source_lang\": \"de\"}\n"
      + "{\"translation\": {\"de\": \"a\", \"en\": \"b\"}}\n",
    .pairsTSV: "source\ttarget\tsource_lang\na\tb\tde\nc\td\t\n",
    .lines: "Ein Satz.\n\u{2028}\nnoch <extra_id_0> einer\r\n",
    .textJSONL: "{\"text\": \"Ein Satz.\"}\n\n{\"text\": \"\"}",
    .chatJSONL: "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, "
      + "{\"role\": \"assistant\", \"content\": \"b<|im_end|>\"}]}\n",
  ]
  let bytes = Array(try #require(good[format]).utf8)
  let decoder = try SequenceEncoder(TinyTokenizer.chat(), layout: .decoderOnly())
  let encoders = format == .chatJSONL ? [decoder] : [decoder, try t5Encoder()]
  let directory = try TemporaryDirectory()
  let path = directory.path + "/x"
  let random = Philox(seed: 5, purpose: .test)
  var read = 0
  for seed in 0..<UInt32(400) {
    var damaged = bytes
    for change in 0..<UInt32(random.below(3, seed, 0, 0)) {
      let place = random.below(max(damaged.count, 1), seed, change, 1)
      guard place < damaged.count else { continue }
      switch random.below(3, seed, change, 2) {
      case 0: damaged[place] = UInt8(random.below(256, seed, change, 3))
      case 1: damaged.removeSubrange(place..<min(place + 5, damaged.count))
      default: damaged.insert(contentsOf: damaged[place...].prefix(9), at: place)
      }
    }
    try Data(damaged).write(to: URL(fileURLWithPath: path))
    for encoder in encoders {
      var options = TextCorpus.Options()
      options.format = format
      (options.sourceLanguage, options.targetLanguage) = ("de", "en")
      options.heldOutShare = 0.3
      do {
        let corpus = try TextCorpus.open(path, encoder: encoder, options: options)
        #expect(try rows(corpus).count == corpus.counts.training)
        read += 1
      } catch is CorpusError {
        continue
      }
    }
  }
  #expect(read > 100)
}

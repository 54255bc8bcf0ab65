import Base
import Foundation
import TestSupport
import Testing
import Tokenizers

/// A file with a part of every kind.
enum TinyTokenizer {
  static let text = #"""
    {"added_tokens":[{"id":4,"content":"<s>","special":true,"lstrip":true}],
    "normalizer":{"type":"Sequence","normalizers":[{"type":"NFKC"},
    {"type":"Replace","pattern":{"String":"x"},"content":"a"}]},
    "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split",
    "pattern":{"Regex":"\\s+"},"behavior":"MergedWithNext","invert":false},
    {"type":"Metaspace","replacement":"_","prepend_scheme":"first"}]},
    "post_processor":{"type":"TemplateProcessing","single":[
    {"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
    "special_tokens":{"<s>":{"id":"<s>","ids":[4],"tokens":["<s>"]}}},
    "decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"},
    {"type":"Strip","content":" ","start":1,"stop":0}]},
    "model":{"type":"BPE","unk_token":"<unk>","vocab":{"a":0,"b":1,"ab":2,"<unk>":3},
    "merges":["a b"]}}
    """#

  static let unigram = #"""
    {"model":{"type":"Unigram","unk_id":1,"vocab":[["a",-1.5],["<unk>",0],["ab",-2]]}}
    """#
}

/// - Parameter fragment: what the error's description has in it.
func expectError<Value>(contains fragment: String, _ body: () throws -> Value) {
  do {
    _ = try body()
    Issue.record("no error, where one has `\(fragment)` in it")
  } catch {
    #expect(error is TokenizerError)
    #expect("\(error)".contains(fragment), "\(error)")
  }
}

private func load(_ bytes: some Sequence<UInt8>, _ directory: TemporaryDirectory) throws
  -> Result<CheckpointTokenizer, TokenizerError>
{
  let path = "\(directory.path)/tokenizer.json"
  try Data(bytes).write(to: URL(fileURLWithPath: path))
  do throws(TokenizerError) {
    return .success(try CheckpointTokenizer(tokenizerJSON: path))
  } catch {
    return .failure(error)
  }
}

@Test func theTinyFilesAreWellFormed() throws {
  let directory = try TemporaryDirectory()
  let bytePair = try load(TinyTokenizer.text.utf8, directory).get()
  #expect(try bytePair.encode("xb <s> bz", addSpecialTokens: true) == [4, 3, 2, 4, 3, 1, 3])
  let unigram = try load(TinyTokenizer.unigram.utf8, directory).get()
  #expect(try unigram.encode("aabz", addSpecialTokens: true) == [0, 2, 1])
}

private let growingStep =
  #"{"type":"Replace","pattern":{"String":"a"},"content":"\#(String(repeating: "a", count: 60))"}"#

/// What is replaced in a tiny file, and what the error says then.
private let damages: [(from: String, to: String, says: String)] = [
  // Numbers and ids.
  (#""ab":2"#, #""ab":9223372036854775808"#, "the id of `ab`"),
  (#""ab":2"#, #""ab":4194304"#, "the id of `ab`"), (#""ab":2"#, #""ab":-1"#, "the id of `ab`"),
  (#""ab":2"#, #""ab":2.0"#, "the id of `ab`"), (#""ab":2"#, #""ab":"2""#, "the id of `ab`"),
  (#""ab":2"#, #""ab":1"#, "the id 1 of"), (#""ab":2"#, #""ab":1e999"#, "too large"),
  (#""ab":2"#, #""ab":02"#, "leading zero"), (#""ab":2"#, #""a":2"#, "`a` occurs twice"),
  (#""id":4"#, #""id":2"#, "the id 2 of `<s>`"), (#""id":4"#, #""id":18446744073709551616"#, "id"),
  (#""ids":[4]"#, #""ids":[7]"#, "the id of no token"),
  (#""start":1"#, #""start":9223372036854775807"#, "9223372036854775807"),
  // Merges.
  ("a b", "a c", "model.merges[0]"), ("a b", "ab", "no pair"), ("a b", " ab", "no pair"),
  (#"["a b"]"#, #"[["a"]]"#, "no pair"), (#"["a b"]"#, #"[7]"#, "no pair"),
  (#"["a b"]"#, #"{}"#, "no array"), ("a b", "b a", "not in the vocabulary"),
  // Kinds of values.
  (#""lstrip":true"#, #""lstrip":1"#, "true or false"),
  (#""model":{"#, #""model":[],"x":{"#, "model"),
  (#""content":"<s>""#, #""content":[]"#, "content"),
  (#""pattern":{"String":"x"}"#, #""pattern":"x""#, "pattern"),
  (#""replacement":"_""#, #""replacement":"__""#, "one character"),
  // Parts that there are not.
  (#""type":"BPE""#, #""type":"WordPiece""#, "model WordPiece is not supported"),
  (#""type":"NFKC""#, #""type":"Nmt""#, "normalizer Nmt is not supported"),
  (#""type":"Metaspace""#, #""type":"BertPreTokenizer""#, "BertPreTokenizer is not supported"),
  (#""type":"ByteFallback""#, #""type":"CTC""#, "decoder CTC is not supported"),
  (#""type":"TemplateProcessing""#, #""type":"BertProcessing""#, "BertProcessing is not supported"),
  ("MergedWithNext", "Glued", "behavior Glued is not supported"),
  (#""prepend_scheme":"first""#, #""prepend_scheme":"last""#, "scheme last is not supported"),
  (#""unk_token""#, #""dropout":0.5,"unk_token""#, "dropout"),
  (#""unk_token""#, #""end_of_word_suffix":"</w>","unk_token""#, "</w>"),
  (#""unk_token":"<unk>""#, #""unk_token":"<no>""#, "`<no>` is not in the vocabulary"),
  (#""id":"A""#, #""id":"B""#, "second text"),
  (#""SpecialToken":{"id":"<s>""#, #""SpecialToken":{"id":"<e>""#, "does not define"),
  // Expressions and growth.
  (#"\\s+"#, #"("#, "no regular expression"), (#"\\s+"#, #""#, "empty pattern"),
  (#""String":"x""#, #""String":"""#, "empty pattern"),
  (
    #"{"type":"ByteFallback"}"#,
    String(repeating: #"{"type":"Fuse"},"#, count: 40) + #"{"type":"Fuse"}"#, "more than 32 steps"
  ),
  (
    #"{"type":"ByteFallback"}"#,
    Array(repeating: growingStep, count: 3).joined(separator: ","), "grows without bounds"
  ),
  // JSON.
  (#""vocab""#, #""vocab"#, "offset"), ("<unk>", #"<u\q"#, "unknown escape"),
  ("<unk>", #"\ud800"#, "half a surrogate pair"), ("<unk>", "\u{1}", "control character"),
]

@Test func damageIsNamed() throws {
  let directory = try TemporaryDirectory()
  for damage in damages {
    let text = try #require(TinyTokenizer.text.range(of: damage.from))
    let damaged = TinyTokenizer.text.replacingCharacters(in: text, with: damage.to)
    switch try load(damaged.utf8, directory) {
    case .success: Issue.record("no error for \(damage)")
    case .failure(let error):
      #expect(error.description.contains(damage.says), "\(error)")
      #expect(error.description.contains("tokenizer.json"))
    }
  }
}

@Test func deepNestingIsAnError() throws {
  let directory = try TemporaryDirectory()
  for (open, close) in [("[", "]"), (#"{"a":"#, "}")] {
    let deep =
      String(repeating: open, count: 100_000) + "0" + String(repeating: close, count: 100_000)
    guard case .failure(let error) = try load(deep.utf8, directory) else {
      Issue.record("no error")
      continue
    }
    #expect(error.description.contains("brackets inside each other"))
  }
}

@Test func unigramDamageIsNamed() throws {
  let directory = try TemporaryDirectory()
  let damages = [
    (#""unk_id":1"#, #""unk_id":3"#), (#""unk_id":1"#, #""unk_id":-1"#), ("-1.5", "1e999"),
    ("-1.5", #""x""#), (#"["ab",-2]"#, #"["ab"]"#), (#""ab""#, #""a""#), ("[[", #"["x",["#),
  ]
  for (from, to) in damages {
    let damaged = TinyTokenizer.unigram.replacingOccurrences(of: from, with: to)
    guard case .failure = try load(damaged.utf8, directory) else {
      Issue.record("no error for \(to)")
      continue
    }
  }
}

/// Every beginning of a file is an error, and says where it breaks off.
@Test func truncatedFilesAreErrors() throws {
  let directory = try TemporaryDirectory()
  let bytes = Array(TinyTokenizer.text.utf8)
  for count in 0..<bytes.count {
    guard case .failure(let error) = try load(bytes.prefix(count), directory) else {
      Issue.record("no error for \(count) bytes")
      continue
    }
    #expect(error.description.contains("tokenizer.json at offset"), "\(error)")
  }
}

/// Damaged at random, a file is refused or can be used; nothing traps.
@Test(arguments: 0..<4) func randomDamageDoesNotTrap(seed: UInt64) throws {
  let directory = try TemporaryDirectory()
  let random = Philox(seed: seed, purpose: .test)
  var outcomes = (refused: 0, used: 0)
  let source = Array((seed % 2 == 0 ? TinyTokenizer.text : TinyTokenizer.unigram).utf8)
  let alphabet = Array(#"{}[]",:0123456789-eaunbx<>_ \"#.utf8) + [0, 0x80, 0xC3, 0xFF]
  for round in 0..<UInt32(400) {
    var bytes = source
    for change in 0...UInt32(random.below(4, round, 0, 0)) {
      let index = random.below(bytes.count, round, change, 1)
      let byte = alphabet[random.below(alphabet.count, round, change, 2)]
      switch random.below(3, round, change, 3) {
      case 0: bytes[index] = byte
      case 1: bytes.remove(at: index)
      default: bytes.insert(byte, at: index)
      }
    }
    switch try load(bytes, directory) {
    case .failure(let error):
      outcomes.refused += 1
      #expect(!error.description.isEmpty)
    case .success(let tokenizer):
      outcomes.used += 1
      for text in ["", "ab xb<s> é ﬁ\u{0301}\u{0}", "_ _a"] {
        if let ids = try? tokenizer.encode(text, addSpecialTokens: true) {
          _ = tokenizer.decode(ids, skipSpecialTokens: round % 2 == 0)
        }
      }
      _ = tokenizer.decode([-1, 0, 1, 2, 3, 4, 5, .max, .min], skipSpecialTokens: false)
    }
  }
  #expect(outcomes.refused > 100 && outcomes.used > 5, "\(outcomes)")
}

/// A map of characters may point anywhere.
@Test func randomCharacterMapsDoNotTrap() throws {
  let directory = try TemporaryDirectory()
  let random = Philox(seed: 5, purpose: .test)
  var used = 0
  for round in 0..<UInt32(300) {
    var bytes = (0..<UInt32(4 * 64 + 32)).map { UInt8(random.below(256, round, $0, 0)) }
    bytes.replaceSubrange(0..<4, with: [0, 1, 0, 0])
    // Labels that are met, and leaves.
    for unit in 0..<64 where random.below(2, round, UInt32(unit), 1) == 0 {
      bytes.replaceSubrange(4 + 4 * unit..<8 + 4 * unit, with: [UInt8(unit ^ 1), 5, 0, 0])
    }
    bytes[bytes.count - 1] = 0
    let map = Data(bytes).base64EncodedString()
    let text = #"{"normalizer":{"type":"Precompiled","precompiled_charsmap":"\#(map)"},"#
    guard
      case .success(let tokenizer) = try load(
        (text + TinyTokenizer.unigram.dropFirst()).utf8, directory)
    else { continue }
    used += 1
    for code in UInt32(0)..<128 {
      let text = String(
        String.UnicodeScalarView(
          [Unicode.Scalar(code), Unicode.Scalar(code ^ 5)].compactMap { $0 }))
      _ = try tokenizer.encode(text + "\u{301}", addSpecialTokens: false)
    }
  }
  #expect(used == 300)
}

/// Also where a model ends between two of its records.
@Test func truncatedModelsAreErrors() throws {
  let directory = try TemporaryDirectory()
  let model = try Data(contentsOf: URL(fileURLWithPath: Resource.path("layouts/t5/spiece.model")))
  for count in stride(from: 0, to: model.count - 32, by: 7) {
    try model.prefix(count).write(to: URL(fileURLWithPath: "\(directory.path)/spiece.model"))
    expectError(contains: "spiece.model at offset") {
      try CheckpointTokenizer(folder: directory.path)
    }
  }
}

/// SentencePiece itself would follow such a map out of its memory.
@Test func modelsWithDamagedCharacterMapsAreErrors() throws {
  let directory = try TemporaryDirectory()
  let path = "\(directory.path)/sp.model"
  let model = try Data(contentsOf: URL(fileURLWithPath: Resource.path("sp_unigram.model")))
  let layout = SentencePieceLayout.plain(addsStart: false, addsEnd: false)
  let random = Philox(seed: 3, purpose: .test)
  for round in 0..<UInt32(20) {
    var damaged = model
    // The map is the last and by far the largest part of the file.
    for change in 0..<UInt32(2000) {
      let index = 28_000 + random.below(model.count - 28_100, round, change, 0)
      damaged[index] = UInt8(random.below(256, round, change, 1))
    }
    try damaged.write(to: URL(fileURLWithPath: path))
    expectError(contains: "character map") {
      try CheckpointTokenizer(sentencePiece: path, layout: layout)
    }
  }
}

import Base
import Foundation
import TestSupport
import Testing
import Tokenizers

/// Random text: scalars of one script, of all planes, spaces and breaks.
private func randomText(_ random: Philox, _ round: UInt32) -> String {
  let count = random.below(40, round, 0, 0)
  let base = UInt32(random.below(0x3000, round, 0, 1))
  let scalars = (0..<UInt32(count)).compactMap { index -> Unicode.Scalar? in
    switch random.below(4, round, index, 2) {
    case 0: Unicode.Scalar(UInt32(random.below(0x110000, round, index, 3)))
    case 1: Unicode.Scalar(UInt32(random.below(0x80, round, index, 3)))
    case 2: [" ", "\n", "\r", "\t", "\u{A0}", "'", "s", "1"][random.below(8, round, index, 3)]
    default: Unicode.Scalar(base + UInt32(random.below(0x80, round, index, 3)))
    }
  }
  return String(String.UnicodeScalarView(scalars))
}

/// A byte-level tokenizer without normalizer gives every text back, also beyond the memory of
/// words.
@Test func byteLevelTextSurvives() throws {
  let directory = try TemporaryDirectory()
  let file = try String(
    contentsOfFile: Resource.path("tokenizer.byte_level_bpe.json"), encoding: .utf8)
  let normalizer = try #require(file.firstRange(of: /"normalizer":\s*\{[^}]*\}/))
  try directory.write(
    file.replacingCharacters(in: normalizer, with: #""normalizer": null"#), "tokenizer.json")
  let tokenizer = try CheckpointTokenizer(folder: directory.path)
  let random = Philox(seed: 11, purpose: .test)
  var all = ""
  for round in 0..<UInt32(2000) {
    let text = randomText(random, round)
    let ids = try tokenizer.encode(text, addSpecialTokens: false)
    #expect(isExactly(tokenizer.decode(ids, skipSpecialTokens: true), text), "round \(round)")
    all += text
  }
  let ids = try tokenizer.encode(all, addSpecialTokens: false)
  #expect(isExactly(tokenizer.decode(ids, skipSpecialTokens: false), all))
}

/// Seconds that this thread has computed.
private func threadSeconds() -> Double {
  var time = timespec()
  unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// The time of one word of many characters does not go by the square of its length: at 700 KB, it
/// would be hours.
@Test(arguments: ["byte_level_bpe", "unigram", "sp_bpe_byte_fallback"])
func longWordsAreEncodedAtOnce(name: String) throws {
  let tokenizer = try CheckpointTokenizer(tokenizerJSON: Resource.path("tokenizer.\(name).json"))
  let word = String(repeating: "anänder", count: 100_000)
  let start = threadSeconds()
  let ids = try tokenizer.encode(word, addSpecialTokens: false)
  #expect(isExactly(tokenizer.decode(ids, skipSpecialTokens: false), word))
  #expect(threadSeconds() - start < 30)
}

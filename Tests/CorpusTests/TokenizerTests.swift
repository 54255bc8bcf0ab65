import Corpus
import TestSupport
import Testing

/// No normalisation and byte fallback: every text comes back, also in scripts never seen.
@Test func textSurvivesTheTokenizer() throws {
  let tokenizer = try Fixture.shared.tokenizer
  let sentences = try Sentences.all().values.joined()
  for text in sentences + ["", "x", "１２３ … ﬁ", "🦉 über\u{0301}"] {
    let tokens = tokenizer.encode(text)
    #expect(tokens.allSatisfy { $0 >= tokenizer.special.count && $0 < tokenizer.vocabularySize })
    #expect(tokenizer.decode(tokens) == text)
  }
}

@Test func specialTokensHaveTheirPlaces() throws {
  let fixture = try Fixture.shared
  let special = fixture.corpus.special
  let names: [(Int32, String)] = [
    (SpecialTokens.pad, "<pad>"), (SpecialTokens.start, "<s>"), (SpecialTokens.end, "</s>"),
    (SpecialTokens.unknown, "<unk>"), (special.into(.english), "<2en>"),
    (special.into(LanguageIndex(3)), "<2ru>"),
    (special.denoise, "<denoise>"), (special.mask, "<mask>"),
  ]
  for (id, piece) in names {
    #expect(fixture.tokenizer.id(of: piece) == id)
    #expect(fixture.tokenizer.piece(id) == piece)
  }
  #expect(fixture.tokenizer.id(of: "no such piece") == SpecialTokens.unknown)
}

/// Text that spells a special token is only text.
@Test func noTextEncodesToASpecialToken() throws {
  let fixture = try Fixture.shared
  let source = fixture.tokenizer.source("a <mask> </s> <2de>", into: LanguageIndex(1))
  #expect(source.first == fixture.corpus.special.into(LanguageIndex(1)))
  #expect(source.last == SpecialTokens.end)
  #expect(source.dropFirst().dropLast().allSatisfy { $0 >= fixture.corpus.special.count })
  #expect(fixture.tokenizer.decode(source) == "a <mask> </s> <2de>")
}

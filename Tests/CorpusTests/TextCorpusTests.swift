import Corpus
import Foundation
import TestSupport
import Testing
import Tokenizers

private func pairs(_ count: Int, _ line: (Int) -> String) -> String {
  (0..<count).map { line($0) + "\n" }.joined()
}

private func numbered(_ count: Int) -> String {
  pairs(count) { "line \(word($0))\tLinie \(word($0))" }
}

@Test func linesAreCounted() throws {
  let long = String(repeating: "word ", count: 40)
  let text = "source\ttarget\na\tb\n\n \t\nc\t \n\(long)\tb\nb\t\(long)\nd\te\n"
  let corpus = try textCorpus(text, "x.tsv", t5Encoder()) { $0.maxSequenceTokens = 32 }
  #expect(corpus.counts.lines == 6)
  #expect(corpus.counts.training == 2)
  #expect(corpus.counts.empty == 1)
  #expect(corpus.counts.tooLong == 2)
  #expect(corpus.counts.heldOut == 0 && corpus.counts.reversed == 0)
  #expect(
    corpus.counts.trainingTokens
      == (try rows(corpus)).reduce(0) { $0 + $1.source.count + $1.labels.count })
}

/// The limit is the longest sequence with its special tokens, and not one token less.
@Test func sequencesOfTheLongestLengthAreKept() throws {
  let encoder = try t5Encoder()
  let text = "one two three four five\tx\n"
  let length = try #require(rows(textCorpus(text, "x.tsv", encoder)).first).source.count
  #expect(
    try textCorpus(text, "x.tsv", encoder) { $0.maxSequenceTokens = length }.counts.tooLong == 0)
  #expect {
    try textCorpus(text, "x.tsv", encoder) { $0.maxSequenceTokens = length - 1 }
  } throws: { "\($0)".contains("1 longer than max_sequence_tokens \(length - 1)") }
}

@Test func formatsThatAModelCannotUseAreRefused() throws {
  let nllb = try SequenceEncoder(TinyTokenizer.nllb(), layout: .languageTagged(start: 2))
  #expect {
    try textCorpus("a\n", "x.txt", nllb)
  } throws: { "\($0)".contains("<extra_id_0>") }
  let chat = try line(["messages": [["role": "assistant", "content": "b"]]])
  #expect { try textCorpus(chat, "x.jsonl", nllb) } throws: { "\($0)".contains("decoders alone") }
  let level = try SequenceEncoder(
    TinyTokenizer.chat(end: "<unk>", special: []), layout: .decoderOnly())
  #expect { try textCorpus(chat, "x.jsonl", level) } throws: { "\($0)".contains("qwen3") }
  for (share, tokens) in [(1.0, 64), (-0.1, 64), (.nan, 64), (0, 3)] {
    #expect {
      try textCorpus("a\tb\n", "x.tsv", nllb) {
        ($0.heldOutShare, $0.maxSequenceTokens) = (share, tokens)
      }
    } throws: { if case CorpusError.option = $0 { true } else { false } }
  }
}

// MARK: - Held-out examples

@Test func heldOutExamplesAreAShareAndNoneIsTrainedOn() throws {
  let tokenizer = try TinyTokenizer.t5()
  let corpus = try textCorpus(numbered(2000), "x.tsv", t5Encoder()) {
    $0.heldOutShare = 0.1
    ($0.sourceLanguage, $0.targetLanguage) = ("en", "de")
  }
  let counts = corpus.counts
  #expect(counts.training + counts.heldOut == 2000 && counts.reversed == 0)
  // Binomial: 200 on average, sigma 13.4.
  #expect(abs(counts.heldOut - 200) < 54)
  let pairs = corpus.heldOutPairs(corpus.tasks[0], count: .max)
  #expect(pairs.count == counts.heldOut)
  let held = Set(pairs.map(\.source))
  #expect(held.count == counts.heldOut)
  for pair in pairs {
    #expect(pair.target == pair.source.replacing("line", with: "Linie"))
    #expect(pair.sourceLanguage == "en" && pair.targetLanguage == "de")
  }
  let trained = try rows(corpus).map { tokenizer.decode($0.source, skipSpecialTokens: true) }
  #expect(trained.count == counts.training && held.isDisjoint(with: trained))
  #expect(held.union(trained).count == 2000)

  // The first ones are a sample of all.
  #expect(corpus.heldOutPairs(corpus.tasks[0], count: 5) == Array(pairs.prefix(5)))
  #expect(pairs.prefix(5) != pairs.sorted { $0.source < $1.source }.prefix(5))
}

/// The side of a text is the same in another file, and near copies are on it.
@Test func theSideOfATextIsItsOwn() throws {
  let encoder = try t5Encoder()
  let share = { (options: inout TextCorpus.Options) in options.heldOutShare = 0.3 }
  func held(_ text: String) throws -> Set<String> {
    let corpus = try textCorpus(text, "x.tsv", encoder, share)
    return Set(corpus.heldOutPairs(corpus.tasks[0], count: .max).map { $0.source.lowercased() })
  }
  let all = try held(numbered(100))
  let some = try held(pairs(50) { "Line, \(word($0 * 2))\tother" })
  #expect(!some.isEmpty)
  #expect(
    Set(some.map { $0.replacing(",", with: "") }) == all.filter { "eaish".contains($0.last ?? " ") }
  )
}

/// A file with both directions: what is asked in evaluation is not answered in training.
@Test func reversesOfHeldOutPairsAreLeftOut() throws {
  let encoder = try SequenceEncoder(TinyTokenizer.nllb(), layout: .languageTagged(start: 2))
  let text = pairs(400) {
    "line \(word($0))\tlinie \(word($0))\teng_Latn\tfra_Latn\n"
      + "linie \(word($0))\tline \(word($0))\tfra_Latn\teng_Latn"
  }
  let corpus = try textCorpus(text, "x.tsv", encoder) { $0.heldOutShare = 0.2 }
  let (counts, tokenizer) = (corpus.counts, try TinyTokenizer.nllb())
  #expect(counts.training + counts.heldOut + counts.reversed == 800)
  #expect(counts.reversed > 50)
  let trained = Set(
    try rows(corpus).map { row in
      [row.source, row.labels].map { tokenizer.decode($0, skipSpecialTokens: true) }
    })
  #expect(trained.count == counts.training)
  for pair in corpus.tasks.flatMap({ corpus.heldOutPairs($0, count: .max) }) {
    #expect(!trained.contains([pair.source, pair.target]))
    #expect(!trained.contains([pair.target, pair.source]))
  }
  // Labels that many sources share are no reverses.
  let labels = try textCorpus(
    pairs(400) { "line \(word($0))\t\(word($0 % 8))" }, "x.tsv", t5Encoder()
  ) {
    $0.heldOutShare = 0.5
  }
  #expect(labels.counts.reversed == 0)
  #expect(labels.counts.training + labels.counts.heldOut == 400)
}

@Test func evaluationIsPackedAndTheSameEachTime() throws {
  let corpus = try textCorpus(numbered(600), "x.tsv", t5Encoder()) {
    ($0.heldOutShare, $0.maxSequenceTokens) = (0.5, 32)
  }
  let batches = corpus.evaluationBatches(microBatchTokens: 64, tokensPerTaskMax: 1000)
  #expect(batches == corpus.evaluationBatches(microBatchTokens: 64, tokensPerTaskMax: 1000))
  let tokens = batches.reduce(0) { $0 + $1.targetTokenCount }
  #expect(tokens <= 1000 && tokens > 1000 - 32)
  for (one, next) in zip(batches, batches.dropFirst()) {
    #expect(max(one.sourceTokenCount, one.targetTokenCount) <= 64)
    let rows = Row.all(next)
    #expect(
      one.sourceTokenCount + rows[0].source.count > 64
        || one.targetTokenCount + rows[0].labels.count > 64)
  }
  let all = corpus.evaluationBatches(microBatchTokens: 64, tokensPerTaskMax: .max)
  #expect(all.reduce(0) { $0 + $1.sequenceCount } == corpus.counts.heldOut)
}

// MARK: - Plain text

/// Documents end to end, each ended, cut into blocks; every token but the first is a label once.
@Test func documentsArePackedForDecoders() throws {
  let tokenizer = try TinyTokenizer.llama()
  let encoder = try SequenceEncoder(tokenizer, layout: .decoderOnly())
  let documents = (0..<40).map { "Document \($0) says something." }
  let corpus = try textCorpus(documents.joined(separator: "\n"), "x.txt", encoder) {
    $0.maxSequenceTokens = 50
  }
  var stream: [Int32] = []
  for document in documents {
    stream += try tokenizer.encode(document, addSpecialTokens: true) + [2]
  }
  let blocks = stride(from: 0, to: stream.count - 1, by: 50).map { start in
    let end = min(start + 50, stream.count - 1)
    return Row(input: Array(stream[start..<end]), labels: Array(stream[start + 1...end]))
  }
  #expect(stream.filter { $0 == 1 }.count == 40)
  #expect(corpus.counts.training == blocks.count)
  #expect(try Set(rows(corpus)) == Set(blocks))
  #expect(corpus.tasks.map(corpus.name) == ["text"])

  // Held-out documents are packed among themselves.
  let split = try textCorpus(documents.joined(separator: "\n"), "x.txt", encoder) {
    ($0.heldOutShare, $0.maxSequenceTokens) = (0.4, 50)
  }
  let (trained, held) = (
    try rows(split).map(\.input),
    split.evaluationBatches(microBatchTokens: 50, tokensPerTaskMax: .max).map(\.targetInput)
  )
  let texts = [trained, held].map { inputs in
    inputs.map { tokenizer.decode($0, skipSpecialTokens: true) }.joined()
  }
  let whole = documents.filter { document in texts.contains { $0.contains(document) } }
  #expect(whole.count > 10)
  for document in whole { #expect(texts.count { $0.contains(document) } == 1) }
}

/// Without its sentinels, the source and the labels make the text again.
@Test func plainTextIsDamagedForEncoders() throws {
  let tokenizer = try TinyTokenizer.t5()
  let text = "The quick brown fox jumps over the lazy dog and then it takes a long rest in the sun."
  let tokens = try tokenizer.encode(text, addSpecialTokens: false)
  let corpus = try textCorpus(text, "x.txt", t5Encoder()) { $0.maxSequenceTokens = 200 }
  #expect(corpus.counts.training == 1 && corpus.tasks.map(corpus.name) == ["denoise"])
  let replaced = Int((Double(tokens.count) * 0.15).rounded())
  let spans = Int((Double(replaced) / 3).rounded())
  let first = try #require(tokenizer.id(of: "<extra_id_0>"))
  let sampler = try EpochSampler(
    corpus, seed: 3, microBatchTokens: 200, microBatchesPerStep: 1)
  var seen: Set<Row> = []
  for step in 0..<20 {
    for row in Row.all(sampler.microBatch(step: step, index: 0)) {
      seen.insert(row)
      #expect(row.input == [0] + row.labels.dropLast())
      #expect(row.source.last == 1 && row.labels.last == 1)
      #expect(row.source.count == tokens.count - replaced + spans + 1)
      #expect(row.labels.count == replaced + spans + 1)
      // Sentinels count downwards.
      let sentinels = (0..<Int32(spans)).map { first - $0 }
      #expect(row.source.filter { sentinels.contains($0) } == sentinels)
      #expect(row.labels.filter { sentinels.contains($0) } == sentinels)
      var parts: [Int32: [Int32]] = [:]
      var sentinel: Int32 = 0
      for token in row.labels.dropLast() {
        if sentinels.contains(token) {
          sentinel = token
        } else {
          parts[sentinel, default: []].append(token)
        }
      }
      #expect(row.source.dropLast().flatMap { parts[$0] ?? [$0] } == tokens)
    }
  }
  #expect(seen.count > 20)
}

/// Long texts are cut into equal parts that fit, and into no more spans than there are sentinels.
@Test func longTextIsCutForEncoders() throws {
  let (tokenizer, text) = (try TinyTokenizer.t5(), String(repeating: "word and ", count: 300))
  let tokens = try tokenizer.encode(text, addSpecialTokens: false)
  let corpus = try textCorpus(text, "x.txt", t5Encoder()) { $0.maxSequenceTokens = 40 }
  let rows = try rows(corpus)
  #expect(rows.allSatisfy { $0.source.count <= 40 && $0.labels.count <= 40 })
  let lengths = rows.map { $0.source.count + $0.labels.count }
  let spans = rows.map { row in row.labels.count { $0 >= 220 } }
  #expect(zip(lengths, spans).reduce(0) { $0 + $1.0 - 2 * $1.1 - 2 } == tokens.count)
  #expect(Set(lengths).count <= 2 && rows.count < tokens.count / 30)

  // Two sentinels are two spans at most, whatever would fit.
  let level = try SequenceEncoder(
    TinyTokenizer.chat(), layout: .sequenceToSequence(start: 0))
  let few = try textCorpus(text, "x.txt", level) { $0.maxSequenceTokens = 512 }
  #expect(few.counts.training > 20)
}

// MARK: - Memory

@Test func memoryIsBoundedByTheSizeOfTheFile() throws {
  let directory = try TemporaryDirectory()
  let text = numbered(20_000)
  try directory.write(text, "x.tsv")
  let path = directory.path + "/x.tsv"
  let bound = try TextCorpus.bytesMax(of: path)
  #expect(bound == 6 * text.utf8.count + 8 << 20)
  var options = TextCorpus.Options()
  let corpus = try TextCorpus.open(path, encoder: t5Encoder(), options: options)
  let tokens = corpus.counts.trainingTokens + corpus.counts.heldOutTokens
  // Four bytes a token, ten an example, and little else: the texts of one in a hundred.
  #expect(corpus.residentBytes >= 4 * tokens + 10 * 20_000)
  #expect(corpus.residentBytes < 4 * tokens + 14 * 20_000 + 100_000)
  #expect(corpus.residentBytes <= bound)

  options.bytesMax = 1 << 20
  #expect {
    try TextCorpus.open(path, encoder: t5Encoder(), options: options)
  } throws: {
    guard case CorpusError.tooLarge(path, let line, let bytes, 1 << 20) = $0 else { return false }
    return line > 1000 && bytes > 1 << 20 && bytes < 5 << 20
  }
  #expect(throws: CorpusError.self) { try TextCorpus.bytesMax(of: "/nowhere/x.tsv") }
}

/// Lines longer than what is read at once, and a last line without an end.
@Test func longLinesAreWhole() throws {
  let encoder = try SequenceEncoder(TinyTokenizer.llama(), layout: .decoderOnly())
  let long = String(repeating: "word ", count: 500_000)
  let corpus = try textCorpus("a\n\(long)\nb", "x.txt", encoder)
  let tokens = try ["a", long, "b"].reduce(0) {
    try $0 + TinyTokenizer.llama().encode($1, addSpecialTokens: true).count + 1
  }
  #expect(corpus.counts.lines == 3)
  #expect(corpus.counts.trainingTokens - corpus.counts.training == tokens - 1)
}

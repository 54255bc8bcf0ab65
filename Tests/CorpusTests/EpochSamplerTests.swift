import Corpus
import Foundation
import TestSupport
import Testing

private func numbers(_ count: Int) throws -> TextCorpus {
  let lines = (0..<count).map {
    "\(word($0))\t\(String(repeating: "\(word($0)) ", count: 1 + $0 % 4))\n"
  }
  return try textCorpus(lines.joined(), "x.tsv", t5Encoder()) { $0.maxSequenceTokens = 32 }
}

private func makeSampler(
  _ corpus: TextCorpus, seed: UInt64 = 1, tokens: Int = 64, perStep: Int = 3
) throws -> EpochSampler {
  try EpochSampler(corpus, seed: seed, microBatchTokens: tokens, microBatchesPerStep: perStep)
}

/// The examples of the first `count` sequences.
private func row(_ sampler: EpochSampler, _ count: Int) -> [Row] {
  var rows: [Row] = []
  var number = 0
  while rows.count < count {
    let perStep = sampler.microBatchesPerStep
    rows += Row.all(sampler.microBatch(step: number / perStep, index: number % perStep))
    number += 1
  }
  return Array(rows.prefix(count))
}

/// Every epoch has each example exactly once, and an order of its own.
@Test func anEpochIsAllExamplesOnce() throws {
  let count = 301
  let corpus = try numbers(count)
  let rows = row(try makeSampler(corpus), 3 * count)
  let epochs = (0..<3).map { Array(rows[$0 * count..<($0 + 1) * count]) }
  let first = Set(epochs[0])
  #expect(first.count == count)
  for epoch in epochs { #expect(Set(epoch) == first && epoch.count == count) }
  #expect(epochs[0] != epochs[1] && epochs[1] != epochs[2])
  #expect(epochs[0] != row(try makeSampler(corpus, seed: 2), count))
}

/// Micro-batches are as full as they can be in order, and never fuller.
@Test func microBatchesArePackedGreedily() throws {
  let sampler = try makeSampler(numbers(301))
  var before: MicroBatch?
  for number in 0..<200 {
    let batch = sampler.microBatch(step: number / 3, index: number % 3)
    #expect(batch.sourceTokenCount <= 64 && batch.targetTokenCount <= 64)
    #expect(batch.sequenceCount == batch.tasks.count && batch.sequenceCount > 0)
    #expect(batch.sourceSegments.count == batch.sequenceCount)
    if let before {
      let next = Row.all(batch)[0]
      #expect(
        before.sourceTokenCount + next.source.count > 64
          || before.targetTokenCount + next.labels.count > 64)
    }
    before = batch
  }
}

/// The same micro-batch from anywhere: forward, backward, far away, and by a new sampler.
@Test func aMicroBatchIsAPureFunction() throws {
  let corpus = try numbers(301)
  let sequential = try makeSampler(corpus)
  var batches: [MicroBatch] = []
  for number in 0..<3000 {
    batches.append(sequential.microBatch(step: number / 3, index: number % 3))
  }
  #expect(sequential.epochs(before: 1000) > 4)
  for number in [0, 2999, 1500, 1499, 1501, 3, 2998, 700, 2500, 1] {
    let (step, index) = (number / 3, number % 3)
    #expect(sequential.microBatch(step: step, index: index) == batches[number])
    #expect(try makeSampler(corpus).microBatch(step: step, index: index) == batches[number])
  }
  // Steps of another size are other cuts of the same row.
  let wide = try makeSampler(corpus, perStep: 5)
  #expect(wide.microBatch(step: 100, index: 4) == batches[504])
}

@Test func microBatchesAreTheSameOnManyThreads() async throws {
  let corpus = try numbers(301)
  let (alone, shared) = (try makeSampler(corpus), try makeSampler(corpus))
  let expected = (0..<300).map { alone.microBatch(step: $0 / 3, index: $0 % 3) }
  await withTaskGroup(of: (Int, MicroBatch).self) { group in
    for number in (0..<300).shuffled() {
      group.addTask { (number, shared.microBatch(step: number / 3, index: number % 3)) }
    }
    for await (number, batch) in group { #expect(batch == expected[number]) }
  }
}

@Test func epochsAreCounted() throws {
  let corpus = try numbers(50)
  let sampler = try makeSampler(corpus, perStep: 1)
  #expect(sampler.epochs(before: 0) == 0)
  var sequences = 0
  for step in 0..<100 {
    #expect(abs(sampler.epochs(before: step) - Double(sequences) / 50) < 1e-12)
    sequences += sampler.microBatch(step: step, index: 0).sequenceCount
  }
}

/// One example, many times in each micro-batch: epochs much shorter than that.
@Test func aCorpusOfOneExampleFillsMicroBatches() throws {
  let corpus = try numbers(1)
  let sampler = try makeSampler(corpus, perStep: 1)
  let batch = sampler.microBatch(step: 0, index: 0)
  #expect(batch.sequenceCount > 10 && Set(Row.all(batch)).count == 1)
  #expect(sampler.microBatch(step: 500, index: 0) == batch)
  #expect(sampler.microBatch(step: 20, index: 0) == batch)
}

@Test func microBatchesMustHoldASequence() throws {
  let corpus = try numbers(3)
  #expect {
    try makeSampler(corpus, tokens: 31)
  } throws: { "\($0)".contains("a sequence of 32") }
}

/// A decoder's micro-batch has no source, and its rows that are not learned are marked.
@Test func decoderBatchesHaveNoSource() throws {
  let encoder = try SequenceEncoder(TinyTokenizer.llama(), layout: .decoderOnly())
  let corpus = try textCorpus("Guten Tag\tGood day\nHaus\thouse\n", "x.tsv", encoder)
  let batch = try makeSampler(corpus, tokens: 512).microBatch(step: 0, index: 0)
  #expect(batch.sourceTokens.isEmpty && batch.sourceSegments.isEmpty)
  #expect(batch.sequenceCount == batch.targetSegments.count && batch.sequenceCount > 2)
  let ignored = batch.targetOutput.count { $0 == MicroBatch.ignoredLabel }
  #expect(ignored > 0 && batch.labelCount == batch.targetTokenCount - ignored)
}

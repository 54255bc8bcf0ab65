import Base
import Corpus
import Foundation
import TestSupport
import Testing

private let limits = BatchSampler.Limits(microBatchTokens: 160, maxSequenceTokens: 60)

private func sampler(
  seed: UInt64 = 1, _ change: (inout TaskMix) -> Void = { _ in }
) throws -> BatchSampler {
  var mix = TaskMix()
  change(&mix)
  return try BatchSampler(
    corpus: Fixture.shared.corpus, mix: mix, seed: seed, limits: limits)
}

@Test func aMicroBatchDependsOnSeedStepAndIndexAlone() throws {
  let batch = try sampler().microBatch(step: 7, index: 3)
  let other = try sampler()
  _ = other.microBatch(step: 6, index: 0)
  #expect(other.microBatch(step: 7, index: 3) == batch)
  #expect(other.microBatch(step: 7, index: 4) != batch)
  #expect(other.microBatch(step: 8, index: 3) != batch)
  #expect(try sampler(seed: 2).microBatch(step: 7, index: 3) != batch)
}

@Test func budgetsHoldAndRowsTile() throws {
  let sampler = try sampler()
  for step in 0..<200 {
    let batch = sampler.microBatch(step: step, index: 0)
    #expect(batch.sequenceCount > 0)
    #expect(batch.sourceTokenCount <= limits.microBatchTokens)
    #expect(batch.targetTokenCount <= limits.microBatchTokens)
    #expect(batch.targetInput.count == batch.targetOutput.count)
    for segments in [batch.sourceSegments, batch.targetSegments] {
      #expect(segments.count == batch.sequenceCount)
      #expect(segments.first?.lowerBound == 0)
      #expect(zip(segments, segments.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
      #expect(segments.allSatisfy { $0.count <= limits.maxSequenceTokens })
    }
    #expect(batch.sourceSegments.last?.upperBound == batch.sourceTokenCount)
    #expect(batch.targetSegments.last?.upperBound == batch.targetTokenCount)
  }
}

/// Every sequence says its target language first, ends, and its target is the text of that
/// language.
@Test func sequencesHaveTheirShape() throws {
  let fixture = try Fixture.shared
  let special = fixture.corpus.special
  let sentences = try Sentences.all()
  let sampler = try sampler { $0.denoiseShare = 0.5 }
  for step in 0..<50 {
    let batch = sampler.microBatch(step: step, index: 1)
    for (i, task) in batch.tasks.enumerated() {
      let source = Array(batch.sourceTokens[batch.sourceSegments[i]])
      let input = Array(batch.targetInput[batch.targetSegments[i]])
      let output = Array(batch.targetOutput[batch.targetSegments[i]])
      #expect(source.first == special.into(task.target))
      #expect(source.last == SpecialTokens.end)
      #expect((source[1] == special.denoise) == (task.kind == .denoise))
      #expect(input.first == SpecialTokens.start && output.last == SpecialTokens.end)
      #expect(input.dropFirst() == output.dropLast())

      let target = fixture.tokenizer.decode(output)
      let texts = try #require(sentences[fixture.corpus.tag(task.target)])
      let place = try #require(texts.firstIndex(of: target))
      if task.kind == .translate {
        #expect(
          fixture.tokenizer.decode(source)
            == sentences[fixture.corpus.tag(task.source)]?[place])
      } else {
        // What is left of the noisy text is in the clean one, in its order.
        var rest = output.dropLast()[...]
        for token in source.dropFirst(2).dropLast() where token != fixture.corpus.special.mask {
          guard let index = rest.firstIndex(of: token) else {
            Issue.record("token \(token) of the source is none of its target's")
            break
          }
          rest = rest[(index + 1)...]
        }
      }
    }
  }
}

/// Draws follow q^(1/T): chi-square of the tasks drawn against the probabilities computed here. It
/// makes no difference that the sequences of a step share a few tasks.
@Test(arguments: [1.0, 5.0], [nil, 2] as [Int?])
func tasksAreDrawnByTemperature(_ temperature: Double, _ tasksPerStep: Int?) throws {
  let corpus = try Fixture.shared.corpus
  let sampler = try sampler {
    $0.temperature = temperature
    $0.denoiseShare = 0.2
    $0.tasksPerStep = tasksPerStep
  }
  var expected: [TrainingTask: Double] = [:]
  func add(_ tasks: [TrainingTask], share: Double) {
    let weights = tasks.map {
      pow(Double(corpus.training.segments($0.source, and: $0.target).count), 1 / temperature)
    }
    for (task, weight) in zip(tasks, weights) {
      expected[task] = share * weight / weights.reduce(0, +)
    }
  }
  let others = corpus.languages.dropFirst()
  add(others.flatMap { [.translate(.english, $0), .translate($0, .english)] }, share: 0.8)
  add(corpus.languages.map { .denoise($0) }, share: 0.2)
  #expect(Set(sampler.probabilities.map(\.task)) == Set(expected.keys))
  for (task, probability) in sampler.probabilities {
    #expect(abs(probability - (expected[task] ?? 0)) < 1e-12)
  }

  // Only the first sequence of a batch is counted: the last one was chosen by whether it fits.
  let draws = 20_000
  var counts: [TrainingTask: Int] = [:]
  for step in 0..<draws {
    let batch = sampler.microBatch(step: step, index: 0)
    counts[batch.tasks[0], default: 0] += 1
  }
  let chiSquare = expected.reduce(0.0) { sum, entry in
    let due = entry.value * Double(draws)
    let difference = Double(counts[entry.key] ?? 0) - due
    return sum + difference * difference / due
  }
  // Ten tasks, nine degrees of freedom: 27.9 is the 0.999 quantile.
  #expect(expected.count == 10)
  #expect(chiSquare < 27.9)
}

/// All micro-batches of a step have the same few tasks; another step has its own.
@Test func aStepHasFewTasksWhenAsked() throws {
  let sampler = try sampler { $0.tasksPerStep = 2 }
  func tasks(_ step: Int) -> Set<TrainingTask> {
    Set((0..<6).flatMap { sampler.microBatch(step: step, index: $0).tasks })
  }
  let all = (0..<50).map(tasks)
  #expect(all.allSatisfy { (1...2).contains($0.count) })
  #expect(all.contains { $0.count == 2 })
  #expect(Set(all).count > 10)
}

/// Only what is asked for, in training and in evaluation.
@Test(arguments: [
  (["de-en"], ["translate de-en"]), (["fr", "en-fr"], ["denoise fr", "translate en-fr"]),
  (["*-de"], ["translate en-de"]),
])
func tasksAreFiltered(_ patterns: [String], _ names: [String]) throws {
  let corpus = try Fixture.shared.corpus
  let filter = TaskFilter(patterns)
  let sampler = try sampler { $0.tasks = filter }
  #expect(sampler.probabilities.map { corpus.name(of: $0.task) }.sorted() == names)
  var mix = TaskMix()
  mix.tasks = filter
  let heldOut = try HeldOut(corpus: corpus, limits: limits, mix: mix)
  #expect(heldOut.tasks.map { corpus.name(of: $0) }.sorted() == names)
}

/// A run for two languages that are not English is judged by them.
@Test func otherPairsAreHeldOutWhenAskedFor() throws {
  let corpus = try Fixture.shared.corpus
  var mix = TaskMix()
  (mix.pairs, mix.tasks) = (.all, TaskFilter(["de-fr"]))
  let heldOut = try HeldOut(corpus: corpus, limits: limits, mix: mix)
  #expect(heldOut.tasks.map { corpus.name(of: $0) } == ["translate de-fr"])
  mix.tasks = TaskFilter()
  #expect(try HeldOut(corpus: corpus, limits: limits, mix: mix).tasks.count == 3 * 2 + 4)
}

@Test(arguments: ["xx", "de-xx", "de-en-fr", "", "*", "de_en"])
func unknownTasksAreNamed(_ pattern: String) {
  let error = #expect(throws: CorpusError.self) {
    try sampler { $0.tasks = TaskFilter([pattern]) }
  }
  #expect(error.map { "\($0)" }?.contains("`\(pattern)` is no task") == true)
}

@Test func allPairsAreDrawnWhenAsked() throws {
  let sampler = try sampler { $0.pairs = .all }
  let translations = sampler.probabilities.filter { $0.task.kind == .translate }
  #expect(translations.count == 4 * 3)
  #expect(abs(sampler.probabilities.reduce(0) { $0 + $1.probability } - 1) < 1e-12)
}

@Test func sequencesThatNeverFitAreNamed() throws {
  let corpus = try Fixture.shared.corpus
  #expect(throws: CorpusError.self) {
    try BatchSampler(
      corpus: corpus, mix: TaskMix(), seed: 1,
      limits: BatchSampler.Limits(microBatchTokens: 8, maxSequenceTokens: 4))
  }
}

@Test func mixesOutOfRangeAreNamed() {
  let changes: [(inout TaskMix) -> Void] = [
    { $0.denoiseShare = 1.5 }, { $0.temperature = 0 }, { $0.noise.maskRate = -1 },
    { $0.noise.deletionRate = .nan }, { $0.noise.spanTokensMean = 0.5 },
    { $0.tasksPerStep = 0 },
  ]
  for change in changes {
    #expect(throws: CorpusError.self) { try sampler(seed: 1, change) }
  }
}

@Test func tasksHaveNames() throws {
  let corpus = try Fixture.shared.corpus
  #expect(corpus.name(of: .translate(LanguageIndex(1), .english)) == "translate de-en")
  #expect(corpus.name(of: .denoise(LanguageIndex(2))) == "denoise fr")
}

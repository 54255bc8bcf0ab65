import Corpus
import Foundation

/// What a run came to: printed at its end and kept as `summary.json`.
// Names are the keys of the file.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct RunSummary: Codable, Sendable {
  package struct Translations: Codable, Sendable {
    package struct Direction: Codable, Sendable {
      package let direction: String
      package let sentences: Int
      package let chrf: Double
      package let bleu: Double
      /// The same for the source copied as it is.
      package let copy_chrf: Double
      package let copy_bleu: Double
    }
    package struct Sample: Codable, Sendable {
      package let direction: String
      package let source: String
      package let reference: String
      package let translation: String
    }
    package let chrf: Double
    package let bleu: Double
    package let copy_chrf: Double
    package let copy_bleu: Double
    /// Out of English into languages that are not written in Latin letters.
    package let other_scripts: Direction?
    package let directions: [Direction]
    package let samples: [Sample]
  }

  package let run: String
  package let steps: Int
  package let tokens: Int
  package let training_seconds: Double
  package let expert_parameters: Int
  package let dense_parameters: Int
  package let expert_state_bytes: Int
  /// Held-out cross-entropy per target token at every evaluation, and its last value by task.
  package let heldout_loss: Double?
  package let heldout_losses: [EvaluationReport]
  package let heldout_loss_by_task: [String: Double]
  package let unigram_entropy: Double
  package let unigram_entropy_by_task: [String: Double]
  package let read_bytes: Int
  package let write_bytes: Int
  package let hit_rate: Double
  package let stall_share: Double
  package let translations: Translations?
  package let peak_rss_bytes: Int
  package let memory_budget_bytes: Int

  /// Translates held-out sentences when the configuration asks for it, under the run's own ceiling.
  package init(_ outcome: TrainingOutcome, _ config: RunConfig, _ directory: RunDirectory) throws {
    let ceiling = try config.bytes(config.memory.budget, key: "memory.budget")
    let progress = outcome.progress
    run = directory.path
    steps = progress.step
    tokens = progress.tokens
    training_seconds = progress.seconds
    expert_parameters = outcome.expertParameters
    dense_parameters = outcome.denseParameters
    expert_state_bytes = outcome.expertStateBytes
    heldout_losses = outcome.evaluations
    heldout_loss = outcome.evaluations.last?.loss
    heldout_loss_by_task = outcome.evaluations.last?.loss_by_task ?? [:]
    unigram_entropy = outcome.unigramEntropy
    unigram_entropy_by_task = outcome.unigramEntropyByTask
    read_bytes = progress.bytesRead
    write_bytes = progress.bytesWritten
    hit_rate = Double(progress.hits) / Double(max(1, progress.visits))
    stall_share = progress.stallSeconds / max(progress.seconds, 1e-9)
    translations =
      config.evaluation.translations > 0
      ? try Translations(config, directory, memory: ceiling) : nil
    peak_rss_bytes = ProcessMemory.peakResidentBytes
    memory_budget_bytes = ceiling
  }

  package func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try writing(path) {
      try encoder.encode(self).write(to: URL(fileURLWithPath: path), options: .atomic)
    }
  }
}

extension RunSummary.Translations {
  /// Held-out sentences into and out of English, a share for each language.
  init(_ config: RunConfig, _ directory: RunDirectory, memory: Int) throws {
    var translator = try Translator(directory, config, memory: memory)
    let corpus = translator.corpus
    let heldOut = HeldOut(
      corpus: corpus, limits: BatchSampler.Limits(config), noise: TaskMix(config).noise)
    let others = corpus.languages.dropFirst()
    let each = max(1, config.evaluation.translations / max(1, 2 * others.count))
    var scored: [(direction: String, Scored)] = []
    for other in others {
      for (source, target) in [(LanguageIndex.english, other), (other, .english)] {
        let samples = try heldOut.translationSamples(from: source, to: target, count: each)
        guard !samples.isEmpty else { continue }
        scored.append(
          (
            "\(corpus.tag(source))-\(corpus.tag(target))",
            Scored(
              sources: samples.map(\.sourceText), references: samples.map(\.referenceText),
              translations: try translator.translate(samples.map(\.sourceTokens)))
          ))
      }
    }
    self.init(scored)
  }

  private init(_ scored: [(direction: String, Scored)]) {
    directions = scored.map { Direction($0.direction, $0.1) }
    let foreign = scored.map(\.1).filter {
      !Scored.isLatin($0.references) && Scored.isLatin($0.sources)
    }
    other_scripts = foreign.isEmpty ? nil : Direction("other scripts", Scored(foreign))
    let all = Scored(scored.map(\.1))
    chrf = all.chrf(all.translations)
    bleu = all.bleu(all.translations)
    copy_chrf = all.chrf(all.sources)
    copy_bleu = all.bleu(all.sources)
    // One sample each of a few directions, evenly spread.
    samples = stride(from: 0, to: scored.count, by: max(1, scored.count / 6)).map { index in
      let (direction, texts) = scored[index]
      return Sample(
        direction: direction, source: texts.sources[0], reference: texts.references[0],
        translation: texts.translations[0])
    }
  }
}

extension RunSummary.Translations.Direction {
  fileprivate init(_ name: String, _ texts: Scored) {
    direction = name
    sentences = texts.sources.count
    chrf = texts.chrf(texts.translations)
    bleu = texts.bleu(texts.translations)
    copy_chrf = texts.chrf(texts.sources)
    copy_bleu = texts.bleu(texts.sources)
  }
}

/// Sources, references and translations of one direction, or of all.
private struct Scored {
  let sources: [String]
  let references: [String]
  let translations: [String]

  init(_ parts: [Scored]) {
    self.init(
      sources: parts.flatMap(\.sources), references: parts.flatMap(\.references),
      translations: parts.flatMap(\.translations))
  }

  init(sources: [String], references: [String], translations: [String]) {
    (self.sources, self.references, self.translations) = (sources, references, translations)
  }

  /// Whether most letters are Latin: those of Basic Latin, Latin-1 and Latin Extended-A and -B.
  static func isLatin(_ texts: [String]) -> Bool {
    let letters = texts.joined().unicodeScalars.filter(\.properties.isAlphabetic)
    return 2 * letters.count { $0.value < 0x250 } > letters.count
  }

  func chrf(_ hypotheses: [String]) -> Double {
    ChrF.chrF2.score(hypotheses, references: [references])
  }
  func bleu(_ hypotheses: [String]) -> Double {
    BLEU().score(hypotheses, references: [references]).score
  }
}

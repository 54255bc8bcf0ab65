import Base
import Corpus
import DirectIO
import Foundation
import PinnedMemory

/// What a run came to: printed at its end and kept as `summary.json`.
// Names are the keys of the file.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct RunSummary: Codable, Sendable {
  /// What the last process of the run moved on one path of the store.
  package struct Path: Codable, Sendable {
    package let path: String
    package let read_bytes: Int
    package let write_bytes: Int
  }

  /// Where a region of its page pools was asked to be, and was at its end.
  package struct Pool: Codable, Sendable {
    package let name: String
    package let bytes: Int
    /// Of `bytes`, on huge pages.
    package let huge_bytes: Int
    /// `node`, `interleave`, or `any` where the kernel decided.
    package let policy: String
    /// Those asked for.
    package let nodes: [Int]
    /// Pages of 4 KiB by node, counted one by one; nil where the kernel does not say.
    package let pages_by_node: [String: Int]?
    /// Pages on no node.
    package let absent_pages: Int?
  }

  /// A part of the memory budget.
  package struct Grant: Codable, Sendable {
    package let name: String
    package let bytes: Int
  }

  /// What the commits of the last process of the run have cost.
  package struct Commits: Codable, Sendable {
    package let count: Int
    /// Training stood still for so long.
    package let pause_seconds_median: Double
    package let pause_seconds_max: Double
    /// From freeze to durable.
    package let seconds_median: Double
  }

  package struct Translations: Codable, Sendable {
    package struct Direction: Codable, Sendable {
      package let direction: String
      package let sentences: Int
      package let bleu_signature: String
      package let chrf: Double
      package let chrf_plus_plus: Double
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
    /// Means over directions.
    package struct Mean: Codable, Sendable {
      package let directions: Int
      package let chrf: Double
      package let bleu: Double
      package let copy_chrf: Double
      package let copy_bleu: Double
    }
    package let all: Mean?
    /// Out of English into languages that are not written in Latin letters.
    package let into_other_scripts: Mean?
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
  package let unigram_loss_by_task: [String: Double]
  package let read_bytes: Int
  package let write_bytes: Int
  package let paths: [Path]
  package let pools: [Pool]
  package let memory: [Grant]
  package let commits: Commits?
  package let hit_rate: Double
  package let stall_share: Double
  package let translations: Translations?
  package let peak_rss_bytes: Int
  package let memory_budget_bytes: Int

  /// Translates held-out sentences when the configuration asks for it, under the run's own ceiling.
  /// - Throws: `TrainingError.stopped` when `isStopping` says so between two groups of sentences.
  package init(
    _ outcome: TrainingOutcome, _ config: RunConfig, _ directory: RunDirectory,
    isStopping: () -> Bool
  ) throws {
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
    unigram_loss_by_task = outcome.unigramLossByTask
    read_bytes = progress.bytesRead
    write_bytes = progress.bytesWritten
    paths = outcome.paths.map {
      Path(
        path: $0.directory, read_bytes: $0.counters.bytesRead,
        write_bytes: $0.counters.bytesWritten)
    }
    pools = outcome.pools.map { Pool($0) }
    memory = outcome.memory.map { Grant(name: $0.name, bytes: $0.bytes) }
    commits =
      outcome.commitSeconds.isEmpty
      ? nil
      : Commits(
        count: outcome.commitSeconds.count, pause_seconds_median: median(outcome.commitPauses),
        pause_seconds_max: outcome.commitPauses.max() ?? 0,
        seconds_median: median(outcome.commitSeconds))
    hit_rate = Double(progress.hits) / Double(max(1, progress.visits))
    stall_share = progress.stallSeconds / max(progress.seconds, 1e-9)
    translations =
      config.evaluation.translations > 0
      ? try Translations(config, directory, memory: ceiling, isStopping: isStopping) : nil
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

extension RunSummary.Pool {
  fileprivate init(_ place: RegionPlace) {
    name = place.name
    bytes = place.byteCount
    huge_bytes = place.hugeBytes
    policy =
      switch place.placement {
      case .anywhere: "any"
      case .node: "node"
      case .interleaved: "interleave"
      }
    nodes = place.placement.nodes
    pages_by_node = place.census.map { census in
      Dictionary(uniqueKeysWithValues: census.pagesByNode.map { (String($0.key), $0.value) })
    }
    absent_pages = place.census?.absentPages
  }
}

extension RunSummary.Translations {
  /// Held-out sentences, a share for each direction.
  /// - Parameter count: sentences of all directions; of the configuration when nil.
  init(
    _ config: RunConfig, _ directory: RunDirectory, memory: Int, count: Int? = nil,
    _ settings: TextGenerator.Settings = .init(), isStopping: () -> Bool
  ) throws {
    let heldOut = try HeldOutSentences(config, count: count ?? config.evaluation.translations)
    var generator = try TextGenerator(directory, config, memory: memory, settings)
    // All directions at once: the decoder works on as many sentences together as it can.
    var texts = try generator.translate(
      heldOut.directions.flatMap(\.pairs), isStopping: isStopping)[...]
    var scored: [(direction: String, Scored)] = []
    for direction in heldOut.directions {
      let pairs = direction.pairs
      scored.append(
        (
          direction.name,
          Scored(
            sources: pairs.map(\.source), references: pairs.map(\.target),
            translations: texts.prefix(pairs.count).map(\.text),
            bleu: BLEU(forLanguage: direction.target))
        ))
      texts = texts.dropFirst(pairs.count)
    }
    self.init(scored)
  }

  private init(_ scored: [(direction: String, Scored)]) {
    directions = scored.map { Direction($0.direction, $0.1) }
    all = Mean(directions)
    let foreign = zip(directions, scored).filter {
      Scored.isLatin($1.1.sources) && !Scored.isLatin($1.1.references)
    }
    into_other_scripts = Mean(foreign.map(\.0))
    // One sample each of a few directions, evenly spread.
    samples = stride(from: 0, to: scored.count, by: max(1, scored.count / 6)).map { index in
      let (direction, texts) = scored[index]
      return Sample(
        direction: direction, source: texts.sources[0], reference: texts.references[0],
        translation: texts.translations[0])
    }
  }
}

extension RunSummary.Translations.Mean {
  /// nil of no direction.
  fileprivate init?(_ parts: [RunSummary.Translations.Direction]) {
    guard !parts.isEmpty else { return nil }
    func mean(_ value: (RunSummary.Translations.Direction) -> Double) -> Double {
      parts.reduce(0) { $0 + value($1) } / Double(parts.count)
    }
    directions = parts.count
    chrf = mean(\.chrf)
    bleu = mean(\.bleu)
    copy_chrf = mean(\.copy_chrf)
    copy_bleu = mean(\.copy_bleu)
  }
}

extension RunSummary.Translations.Direction {
  fileprivate init(_ name: String, _ texts: Scored) {
    direction = name
    sentences = texts.sources.count
    bleu_signature = texts.bleu.signature()
    chrf = texts.chrf(texts.translations)
    chrf_plus_plus = ChrF.chrFPlusPlus.score(texts.translations, references: [texts.references])
    bleu = texts.bleu(texts.translations)
    copy_chrf = texts.chrf(texts.sources)
    copy_bleu = texts.bleu(texts.sources)
  }
}

/// Sources, references and translations of one direction.
private struct Scored {
  let sources: [String]
  let references: [String]
  let translations: [String]
  let bleu: BLEU

  /// Whether most letters are Latin: those of Basic Latin, Latin-1 and Latin Extended-A and -B.
  static func isLatin(_ texts: [String]) -> Bool {
    let letters = texts.joined().unicodeScalars.filter(\.properties.isAlphabetic)
    return 2 * letters.count { $0.value < 0x250 } > letters.count
  }

  func chrf(_ hypotheses: [String]) -> Double {
    ChrF.chrF2.score(hypotheses, references: [references])
  }
  func bleu(_ hypotheses: [String]) -> Double {
    bleu.score(hypotheses, references: [references]).score
  }
}

import Corpus
import Foundation
import Paging
import Storage

/// What a generation remembers beside the records: where the run is, and what it has cost so far.
/// The data cursor is the step: batches are a pure function of seed and step.
package struct RunProgress: Codable, Equatable, Sendable {
  package private(set) var step = 0
  package private(set) var tokens = 0
  package private(set) var seconds = 0.0
  package private(set) var stallSeconds = 0.0
  package private(set) var bytesRead = 0
  package private(set) var bytesWritten = 0
  package private(set) var visits = 0
  package private(set) var hits = 0

  /// What a published model is trained on and how, as a digest: its store is named by the model
  /// alone. nil before the first step, and where the store's name says it.
  private var settings: String?
  /// Which experts are still there and what probabilities are of, as the configuration says it; nil: all.
  private(set) var kept: [String]?
  private(set) var keptProbabilities: String?
  /// What multiplies matrices now; nil before the first session, and where an older version was the last.
  private var products: String?

  /// What `account` adds the counters of this process to.
  private var bytesReadBefore = 0
  private var bytesWrittenBefore = 0

  private enum CodingKeys: CodingKey {
    case step, tokens, seconds, stallSeconds, bytesRead, bytesWritten, visits, hits, settings,
      kept, keptProbabilities, products
  }

  package init() {}

  /// Takes over the settings of a run before its first step.
  /// - Throws: `StorageError.belongsToAnother` when it was trained with others.
  mutating func belong(
    to config: RunConfig, _ data: DataFacts, path: String
  ) throws {
    if step == 0, kept == nil { keep(config.model) }
    try requireExperts(of: config, path: path)
    guard PublishedFamily(rawValue: config.model.family) != nil else { return }
    let wanted = String(StableHash.of(config.identity(corpus: data.checksum)), radix: 16)
    if step > 0, let settings, settings != wanted {
      throw StorageError.belongsToAnother(
        path: path, found: "settings \(settings)", wanted: "settings \(wanted)")
    }
    settings = wanted
  }

  /// From now on the experts that `model` says are there.
  package mutating func keep(_ model: RunConfig.ModelSection) {
    kept = model.kept_experts.isEmpty ? nil : model.kept_experts
    keptProbabilities = kept == nil ? nil : model.kept_probabilities
  }

  /// `config` with the experts that are there.
  package func kept(in config: RunConfig) -> RunConfig {
    var own = config
    own.model.kept_experts = kept ?? []
    own.model.kept_probabilities = keptProbabilities ?? RunConfig().model.kept_probabilities
    return own
  }

  /// - Throws: `TrainingError.otherExperts` when other experts are there than `config` says.
  package func requireExperts(of config: RunConfig, path: String) throws {
    let there = kept(in: config)
    guard !there.hasSameExperts(as: config) else { return }
    throw TrainingError.otherExperts(
      path: path, found: there.expertsText, wanted: config.expertsText)
  }

  /// Takes over what multiplies from now on.
  /// - Returns: what to tell whoever watches, if that was something else until now.
  mutating func multiply(with library: String) -> String? {
    defer { products = library }
    guard step > 0, let products, products != library else { return nil }
    return "matrices are multiplied by \(library); until step \(step) it was \(products), which "
      + "may round differently: then the steps from here on are not bit for bit those of an "
      + "uninterrupted run"
  }

  mutating func add(_ metrics: StepMetrics) {
    step = metrics.step
    tokens += metrics.tokens
    seconds += metrics.step_s
    stallSeconds += metrics.allStallSeconds
    visits += metrics.visits
    hits += metrics.hits
  }

  /// All bytes that the pager of this process has moved, evaluations and commits included.
  /// - Parameter unwritten: bytes that belong to this state and are written later.
  mutating func account(_ counters: PagerCounters, unwritten: Int = 0) {
    bytesRead = bytesReadBefore + counters.bytesRead
    bytesWritten = bytesWrittenBefore + counters.bytesWritten + unwritten
  }

  package func payload() throws -> [UInt8] { Array(try JSONEncoder().encode(self)) }

  package init(payload: [UInt8]) throws {
    do {
      self = try JSONDecoder().decode(RunProgress.self, from: Data(payload))
      (bytesReadBefore, bytesWrittenBefore) = (bytesRead, bytesWritten)
    } catch {
      throw TrainingError.damagedState(cause: "the progress beside it is not readable")
    }
  }
}

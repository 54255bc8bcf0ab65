import Base
import Corpus
import DirectIO
import Models
package import Storage
package import Training

/// The part of a run that one task needs: the dense part and, of layers whose gates decide by task, that
/// task's experts alone (Kudugunta et al., "Beyond distillation: Task-level mixture-of-experts for
/// efficient inference", 2021). On that task it computes what the whole run computes, bit for bit, and it
/// is a run like any other.
package struct Extraction {
  package struct Report: Codable, Sendable {
    package let run: String
    package let task: String
    /// Experts kept, by layer that has any.
    package let experts: [Int]
    package let expertsBefore: [Int]
    package let records: Int
    package let bytes: Int
  }

  /// Of the new run.
  package let config: RunConfig
  private let source: SourceRun
  private let task: String
  private let disk: any Disk

  /// - Parameters:
  ///   - task: `de-en`, or `en` where gates decide by target language.
  ///   - memory: the ceiling of the new run; the old one's when nil.
  ///   - storePaths: of the new store; its run directory's when empty.
  /// - Throws: `SurgeryError`; what opening the run throws.
  package init(
    _ directory: RunDirectory, _ config: RunConfig, task: String, memory: String? = nil,
    storePaths: [String] = []
  ) throws {
    if !config.model.kept_experts.isEmpty, config.model.kept_probabilities == "kept" {
      throw SurgeryError.pruned(path: directory.path)
    }
    disk = openDisk(queueDepth: 32).disk
    try DerivedRun(directory, config).requireMemory(
      others: [SourceRun.memory(config, dense: .weights)])
    source = try SourceRun(directory, config, disk: disk, dense: .weights)
    let layers = source.description.layers
    guard layers.contains(where: { $0.gateInput?.isByTask == true }) else {
      throw SurgeryError.noGateByTask(path: directory.path)
    }
    let corpus = try ParallelCorpus.readManifest(config.data.corpus)
    let (pattern, sequence) = try Self.parse(task, corpus, byPair: source.hasGateByPair)
    let isWanted = try TaskFilter(config.data.tasks).admitsTranslation(
      from: sequence.source == sequence.target ? nil : LanguageIndex(sequence.source),
      into: LanguageIndex(sequence.target), of: corpus)
    guard isWanted else {
      throw SurgeryError.noTask(
        task, cause: "the run is for \(config.data.tasks.joined(separator: ", ")) alone")
    }
    let chosen = source.experts(of: sequence)
    var new = config
    new.model.kept_experts = layers.filter { $0.mixture != nil }.enumerated().map { index, layer in
      NumberList.text(of: chosen[index] ?? layer.keptExperts ?? [])
    }
    new.model.kept_probabilities = "all"
    new.data.tasks = [pattern]
    new.storage.paths = storePaths
    if let memory { new.memory.budget = memory }
    try new.validate()
    (self.config, self.task) = (new, task)
  }

  /// The tasks that share the experts of `text`, and one of them.
  private static func parse(
    _ text: String, _ corpus: CorpusManifest, byPair: Bool
  ) throws(SurgeryError) -> (pattern: String, task: SequenceTask) {
    let known = corpus.languages.map(\.tag).joined(separator: ", ")
    let sides = text.split(separator: "-", omittingEmptySubsequences: false).map(String.init)
    guard (1...2).contains(sides.count), let target = corpus.index(of: sides[sides.count - 1])
    else { throw .noTask(text, cause: "write de-en, with languages of: \(known)") }
    let source = sides.count == 2 ? corpus.index(of: sides[0]) : target
    guard let source, sides.count == 1 || source != target else {
      throw .noTask(text, cause: "write de-en, with two languages of: \(known)")
    }
    guard byPair else {
      return (
        "*-\(sides[sides.count - 1])",
        SequenceTask(source: source.rawValue, target: target.rawValue)
      )
    }
    guard sides.count == 2 else {
      throw .noTask(text, cause: "the gates decide by pairs of languages: write de-en")
    }
    return (text, SequenceTask(source: source.rawValue, target: target.rawValue))
  }

  /// Makes the new run in `run`.
  /// - Parameter progress: told of bytes.
  /// - Throws: `ExchangeError`, `MemoryRefusal`, `StorageError`.
  package func make(
    _ run: RunDirectory, profiles: DriveProfiles = .ofUser,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Report {
    try copy(source, to: run, config, on: disk, profiles: profiles, progress: progress)
    let records = source.records(keptBy: config)
    let mixtures = source.description.layers.compactMap(\.keptExperts)
    return Report(
      run: run.path, task: task,
      experts: config.keptCounts(source.description.experts.count),
      expertsBefore: mixtures.map(\.count), records: records.count,
      bytes: records.count * source.store.geometry.recordBytes)
  }
}

/// Makes a run of the records of `source` that `config` keeps.
func copy(
  _ source: SourceRun, to run: RunDirectory, _ config: RunConfig, on disk: any Disk,
  profiles: DriveProfiles, progress: (_ done: Int, _ total: Int) -> Void
) throws {
  let records = source.records(keptBy: config)
  try DerivedRun(run, config, profiles: profiles).make(
    on: disk,
    others: [SourceRun.memory(source.config, dense: .weights)]
  ) { filling in
    try filling.adopt(
      records.map { Store.Adoption(source.store, $0, as: $0) }, progress: progress)
    var state = source.progress
    state.keep(config.model)
    return state
  }
}

extension SourceRun {
  /// The written blocks that a run has of which `config` keeps some of the experts.
  func records(keptBy config: RunConfig) -> [BlockID] {
    let kept = config.model.kept_experts.map {
      Set(NumberList.numbers(of: $0, below: description.experts.count) ?? [])
    }
    return store.writtenBlocks.filter {
      $0.kind != .expert || kept.isEmpty || kept[$0.layer].contains($0.index)
    }
  }

  fileprivate var hasGateByPair: Bool {
    description.layers.contains { layer in
      if case .task(let tasks) = layer.gateInput { tasks.kind == .languagePair } else { false }
    }
  }
}

extension RunConfig {
  /// Experts of each layer that has any.
  func keptCounts(_ experts: Int) -> [Int] {
    model.kept_experts.map { NumberList.numbers(of: $0, below: experts)?.count ?? 0 }
  }
}

package import Base
package import DirectIO
package import Kernels
package import Models
import Paging
import PinnedMemory
package import Storage

/// The last generation of a run, opened to make another one of it: its store, for records that are taken
/// over as they are, and its dense part in memory.
package struct SourceRun {
  package let directory: RunDirectory
  package let config: RunConfig
  package let store: Store
  package let description: ModelDescription
  package let dense: DenseParameters
  package let progress: RunProgress

  /// What is read of the dense part.
  package enum Dense: Sendable {
    case none, weights, all

    fileprivate var floatsEach: Int { self == .none ? 0 : self == .weights ? 1 : 3 }
  }

  /// - Parameters:
  ///   - disk: that the store will be opened on, too, which takes over its records.
  ///   - part: what is read of the dense part; `memory` says what that takes.
  /// - Throws: `TrainingError.nothingToResume`; `StorageError`, `CorpusError`, `ConfigError`.
  package init(
    _ directory: RunDirectory, _ config: RunConfig, disk: any Disk, dense part: Dense
  ) throws {
    let geometry = try RunGeometry(config, corpus: DataFacts(config).corpus)
    let store = try config.storedRun(in: directory, disk: disk)
    guard let generation = store.generation else {
      throw TrainingError.nothingToResume(path: directory.path)
    }
    dense = DenseParameters(
      geometry.description.layout, count: geometry.dense.paddedCount, training: false,
      moments: part == .all)
    if part != .none {
      let workers = Workers(count: geometry.exchangeThreads)
      // Gone before anybody else uses the disk.
      var pager = try Pager(
        store: store, frames: Self.frames, ledger: MemoryLedger(ceiling: .max))
      pager.computeChecksums(on: workers)
      try geometry.dense.load(dense, &pager, on: workers)
    }
    (self.directory, self.config, self.store) = (directory, config, store)
    description = geometry.description
    progress = try RunProgress(payload: generation.payload)
  }

  private static let frames = FrameBudget(weights: 4, state: 4)

  /// What it has in memory, to be granted before it is opened.
  package static func memory(_ config: RunConfig, dense part: Dense) throws -> MemoryLedger.Grant {
    let geometry = try RunGeometry(config, corpus: DataFacts(config).corpus)
    let floats = geometry.dense.paddedCount * max(1, part.floatsEach)
    return .init(
      name: "tables and dense part of a run",
      bytes: floats * MemoryLayout<Float>.stride + frames.byteCount(geometry.record)
        + geometry.storeTables(config, isReadOnly: true).bytes)
  }

  /// The experts that the gates by task choose for `task`, ascending, by layer with experts; nil of a
  /// layer whose gate decides otherwise.
  package func experts(of task: SequenceTask) -> [[Int]?] {
    let model = Transformer(
      description, dense: dense,
      limits: BatchLimits(microBatches: 1, microBatchRows: 1, sequenceRows: 1, expertRows: 1),
      smoothing: 0, training: false, workers: .inline)
    var batch = PackedBatch()
    batch.source.append(tokens: [0], sequences: [0..<1], tasks: [task])
    batch.target.append(tokens: [0], sequences: [0..<1], tasks: [task])
    model.embed(batch, step: 0, mode: .generation)
    return description.layers.filter { $0.mixture != nil }.map { model.expertsOfTasks($0) }
  }
}

/// Reads weights of experts of a run's last generation, on a disk of its own.
package struct ExpertReader: ~Copyable {
  private var pager: Pager
  private let experts: ExpertShape
  private let seed: UInt64
  private let workers: Workers
  package let generation: Generation?

  /// - Throws: `StorageError`, `CorpusError`, `ConfigError`.
  package init(_ directory: RunDirectory, _ config: RunConfig) throws {
    let geometry = try RunGeometry(config, corpus: DataFacts(config).corpus)
    let workers = Workers(count: geometry.exchangeThreads)
    let store = try config.storedRun(in: directory)
    var pager = try Pager(
      store: store, frames: FrameBudget(weights: 4, state: 4),
      ledger: MemoryLedger(ceiling: .max))
    pager.computeChecksums(on: workers)
    self.pager = pager
    self.workers = workers
    generation = store.generation
    experts = geometry.experts
    seed = UInt64(config.seed)
  }

  /// Weights of a block; of one that was never written what the seed gives.
  package mutating func readWeights(_ block: BlockID, into floats: FloatBuffer) throws {
    pager.plan([Visit(block, [.hi, .lo])])
    var page = try pager.next()
    page.initialiseIfVirgin(experts, seed: seed)
    page.read(.weights, into: floats, on: workers)
    pager.keep(page)
  }
}

extension RunConfig {
  /// Experts that a token chooses.
  /// - Throws: as `description`.
  package func expertsPerToken() throws -> Int { try description().routing.expertsPerToken }

  /// The model that the configuration describes.
  /// - Throws: `CorpusError`, `InterchangeError`, `ConfigError`, `TrainingError`.
  package func description() throws -> ModelDescription {
    try ModelDescription(self, corpus: DataFacts(self).corpus)
  }
}

/// A run that is made out of others: a directory, a store with one generation, and nothing until it is
/// whole.
package struct DerivedRun {
  private let run: RunDirectory
  private let config: RunConfig
  private let profiles: DriveProfiles

  /// - Parameter config: of the new run.
  package init(_ run: RunDirectory, _ config: RunConfig, profiles: DriveProfiles = .ofUser) {
    (self.run, self.config, self.profiles) = (run, config, profiles)
  }

  /// Refuses what has no room for it, before anything is read.
  /// - Throws: `MemoryRefusal`; `CorpusError`, `ConfigError`.
  package func requireMemory(others: [MemoryLedger.Grant]) throws {
    let geometry = try RunGeometry(config, corpus: DataFacts(config).corpus)
    _ = try StoreFilling.plan(config, geometry, others: others)
  }

  /// A killed one is begun anew by the next.
  /// - Parameters:
  ///   - disk: of the stores whose records are taken over.
  ///   - others: what is in memory beside the new store.
  ///   - fill: writes every block that is not to be virgin, and returns where the run is.
  /// - Throws: `ExchangeError`, `MemoryRefusal`, `StorageError`; what `fill` throws.
  package func make(
    on disk: any Disk, others: [MemoryLedger.Grant] = [],
    _ fill: (inout StoreFilling) throws -> RunProgress
  ) throws {
    let facts = try DataFacts(config)
    let geometry = try RunGeometry(config, corpus: facts.corpus)
    _ = try StoreFilling.plan(config, geometry, others: others)
    let storePaths = Trainer.storePaths(config, run)
    let draft = RunDraft(run)
    try draft.begin(
      config.unresolved(in: run, from: config.model.path), storePaths: storePaths)
    do {
      if PublishedFamily(rawValue: config.model.family) != nil {
        try draft.copyModel(config.model.path, followsLinks: false)
      }
      // Closed again before the run is one.
      try Self.commit(
        StoreFilling(
          config, geometry, identity: RunGeometry.identity(config, corpus: facts.checksum),
          storePaths: storePaths, profiles: profiles, disk: disk, others: others), fill)
      try draft.finish()
    } catch {
      draft.takeBack(storePaths: storePaths)
      throw error
    }
  }

  private static func commit(
    _ filling: consuming StoreFilling, _ fill: (inout StoreFilling) throws -> RunProgress
  ) throws {
    let progress = try fill(&filling)
    try filling.commit(progress)
  }
}

package import Base
package import DirectIO
import Models
package import Storage

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

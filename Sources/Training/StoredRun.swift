import Corpus
package import DirectIO
import Models
package import Storage

/// The run in `run`, opened for looking: its configuration and its store, read-only.
/// - Parameter paths: directories of the store; the run's own when empty.
/// - Throws: `TrainingError.noRun`; `StorageError` when the store is missing, damaged or in use.
package func openStore(
  _ run: RunDirectory, paths: [String]
) throws -> (config: RunConfig, store: Store) {
  let config = try run.config(storePaths: paths)
  return (config, try config.storedRun(in: run))
}

extension RunDirectory {
  /// The configuration of the run that lives here.
  /// - Parameter storePaths: directories of the store; the run's own when empty.
  /// - Throws: `TrainingError.noRun`; `ConfigError`.
  package func config(storePaths: [String]) throws -> RunConfig {
    guard var config = try savedConfig() else { throw TrainingError.noRun(path: path) }
    if !storePaths.isEmpty { config.storage.paths = storePaths }
    return config
  }
}

extension RunConfig {
  /// The store of this configuration, read-only.
  /// - Parameter given: the disk to open it on; nil: one of its own.
  /// - Throws: `StorageError.belongsToAnother` when it is not this run's.
  func storedRun(in run: RunDirectory, disk given: (any Disk)? = nil) throws -> Store {
    let store = try storeOfRun(in: run, disk: given)
    if let generation = store.generation {
      try RunProgress(payload: generation.payload).requireExperts(of: self, path: run.path)
    }
    return store
  }

  /// The same, whatever experts it has.
  package func storeOfRun(in run: RunDirectory, disk given: (any Disk)? = nil) throws -> Store {
    let paths = Trainer.storePaths(self, run)
    let disk =
      try given ?? openDisk(DriveSettings(self, paths: paths, profiles: .ofUser).disk).disk
    let store = try Store.openReadOnly(paths: paths, disk: disk)
    try requireOwn(store, path: paths[0])
    return store
  }

  /// - Throws: `StorageError.belongsToAnother` when a store is not this run's.
  package func requireOwn(_ store: Store, path: String) throws {
    let isPublished = PublishedFamily(rawValue: model.family) != nil
    let corpus = isPublished ? "" : try ParallelCorpus.readManifest(data.corpus).checksum
    let wanted = try RunGeometry.identity(self, corpus: corpus)
    guard store.description.identity == wanted else {
      throw StorageError.belongsToAnother(
        path: path, found: store.description.identity, wanted: wanted)
    }
  }

  /// The store that `configuration` describes, to be trained with.
  /// - Throws: `TrainingError.otherExperts` where a store of this run has another number of blocks, because
  ///   it was pruned; `StorageError`.
  func openStore(
    _ configuration: StoreConfiguration, disk: any Disk, create: Bool
  ) throws -> Store {
    do {
      return try Store.open(configuration, disk: disk, create: create)
    } catch {
      if case .belongsToAnother(let path, _, _) = error,
        let store = try? Store.openReadOnly(paths: configuration.paths, disk: openDisk().disk),
        store.description.identity == configuration.identity, let generation = store.generation
      {
        try RunProgress(payload: generation.payload).requireExperts(of: self, path: path)
      }
      throw error
    }
  }

  /// Experts that each layer with any had when the run was made, and how many are there, in forward order.
  package func mixtures() throws -> (experts: Int, there: [Int]) {
    let description = try description()
    return (description.experts.count, description.layers.compactMap(\.keptExperts).map(\.count))
  }
}

import Corpus
import DirectIO
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
  /// - Throws: `StorageError.belongsToAnother` when it is not this run's.
  func storedRun(in run: RunDirectory) throws -> Store {
    let paths = Trainer.storePaths(self, run)
    let drives = try DriveSettings(self, paths: paths, profiles: .ofUser)
    let (disk, _) = openDisk(drives.disk)
    let store = try Store.openReadOnly(paths: paths, disk: disk)
    let isPublished = PublishedFamily(rawValue: model.family) != nil
    let corpus = isPublished ? "" : try ParallelCorpus.readManifest(data.corpus).checksum
    let wanted = try RunGeometry.identity(self, corpus: corpus)
    guard store.description.identity == wanted else {
      throw StorageError.belongsToAnother(
        path: paths[0], found: store.description.identity, wanted: wanted)
    }
    if let generation = store.generation {
      try RunProgress(payload: generation.payload).requireExperts(of: self, path: paths[0])
    }
    return store
  }

  /// Layers with experts, encoder and decoder, and experts in each.
  package func mixtures() throws -> (layers: Int, experts: Int) {
    guard let published = try publishedModel() else {
      let layers =
        model.encoder_layers / model.sparse_step + model.decoder_layers / model.sparse_step
      return (layers, model.num_experts)
    }
    let description = try published.description(self)
    return (description.mixtures, description.experts.count)
  }
}

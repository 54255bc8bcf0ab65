import Models
package import Storage

/// The run in `run`, opened for looking: its configuration and its store, read-only.
/// - Parameter paths: directories of the store; the run's own when empty.
/// - Throws: `TrainingError.noRun`; `StorageError` when the store is missing, damaged or in use.
package func openStore(
  _ run: RunDirectory, paths: [String]
) throws -> (config: RunConfig, store: Store) {
  guard var config = try run.savedConfig() else { throw TrainingError.noRun(path: run.path) }
  if !paths.isEmpty { config.storage.paths = paths }
  let (disk, _) = try TrainingSession.openDisk(config)
  return (config, try Store.openReadOnly(paths: Trainer.storePaths(config, run), disk: disk))
}

extension RunConfig {
  /// Layers with experts, encoder and decoder.
  package var mixtureLayers: Int {
    model.encoder_layers / model.sparse_step + model.decoder_layers / model.sparse_step
  }
}

import Base
import DirectIO
import Foundation
import Models
package import Storage
package import Training

/// Drops experts of a run (Kim et al., "Scalable and efficient MoE training for multitask multilingual
/// models", 2021): their part in the gates' softmax and their records, in place or in a new run. Of an
/// extracted run the softmax stays what it was, over all experts that there ever were.
package struct Pruning {
  package struct Report: Codable, Sendable {
    package let run: String
    /// By layer that has experts, ascending.
    package let kept: [[Int]]
    package let expertsBefore: [Int]
    /// Bytes of the drive that were given back; of a new run, that it takes fewer.
    package let bytes: Int
  }

  private let directory: RunDirectory
  private let config: RunConfig
  /// Of the run afterwards.
  package let pruned: RunConfig
  private let kept: [[Int]]

  /// - Parameter kept: by layer with experts, some of those that it has.
  /// - Throws: `ConfigError` where a layer would have fewer experts than a token chooses.
  package init(
    _ directory: RunDirectory, _ config: RunConfig, keeping kept: [[Int]]
  ) throws {
    var pruned = config
    pruned.model.kept_experts = kept.map(NumberList.text)
    try pruned.validate()
    (self.directory, self.config, self.pruned, self.kept) = (directory, config, pruned, kept)
  }

  /// Ends a pruning in place of which only the store has heard, if there is one.
  /// - Returns: the configuration of the run, with the experts that it has.
  /// - Throws: what opening the store throws.
  package static func finishInterrupted(
    _ directory: RunDirectory, _ config: RunConfig
  ) throws -> RunConfig {
    let store = try config.storeOfRun(in: directory)
    guard let generation = store.generation else {
      throw TrainingError.nothingToResume(path: directory.path)
    }
    let state = try RunProgress(payload: generation.payload)
    let pruned = state.kept(in: config)
    guard !pruned.hasSameExperts(as: config) else { return config }
    // Where the store is given otherwise, that is of this command alone.
    try directory.claim(for: state.kept(in: directory.config(storePaths: [])))
    return pruned
  }

  /// Drops the records and gives their room back. The store first: interrupted before the configuration
  /// is written, `finishInterrupted` writes it.
  /// - Throws: `StorageError`; `TrainingError.cannotCreate`.
  package func inPlace(progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }) throws -> Report
  {
    let before = try counts()
    let paths = Trainer.storePaths(config, directory)
    func open() throws -> Store {
      try Store.openAlone(paths: paths, disk: openDisk(queueDepth: 32).disk)
    }
    let state = try forget(in: open())
    try directory.claim(for: state.kept(in: directory.config(storePaths: [])))
    let bytes = try open().compact(progress: progress)
    return Report(run: directory.path, kept: kept, expertsBefore: before, bytes: bytes)
  }

  /// - Throws: `TrainingError.otherExperts` when the store was pruned since the configuration was read.
  private func forget(in store: Store) throws -> RunProgress {
    try config.requireOwn(store, path: directory.path)
    guard let generation = store.generation else {
      throw TrainingError.nothingToResume(path: directory.path)
    }
    var state = try RunProgress(payload: generation.payload)
    try state.requireExperts(of: config, path: directory.path)
    state.keep(pruned.model)
    try store.forget(Set(try dropped()), payload: state.payload())
    return state
  }

  /// Makes a run of what is kept in `run`; the old one stays as it is.
  /// - Throws: `ExchangeError`, `MemoryRefusal`, `StorageError`.
  package func make(
    _ run: RunDirectory, storePaths: [String] = [], profiles: DriveProfiles = .ofUser,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Report {
    let disk = openDisk(queueDepth: 32).disk
    let source = try SourceRun(directory, config, disk: disk, dense: .none)
    var config = pruned
    config.storage.paths = storePaths
    try copy(source, to: run, config, on: disk, profiles: profiles, progress: progress)
    let dropped = source.store.writtenBlocks.count - source.records(keptBy: config).count
    return Report(
      run: run.path, kept: kept, expertsBefore: try counts(),
      bytes: dropped * source.store.geometry.recordBytes)
  }

  /// Experts of each layer until now.
  private func counts() throws -> [Int] {
    try config.description().layers.compactMap(\.keptExperts).map(\.count)
  }

  /// Blocks of the experts that go.
  private func dropped() throws -> [BlockID] {
    let description = try config.description()
    return description.layers.flatMap { layer -> [BlockID] in
      guard let mixture = layer.mixture, let there = layer.keptExperts else { return [] }
      let stays = Set(kept[mixture])
      return there.filter { !stays.contains($0) }.flatMap { expert in
        (0..<description.experts.slices).map { .expert(layer: mixture, expert, slice: $0) }
      }
    }
  }
}

package import Base
package import DirectIO
import Kernels
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

    fileprivate func floatsEach(_ blocks: DenseBlocks) -> Int {
      self == .all ? blocks.states.count : 1
    }
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
      moments: part == .all && geometry.dense.hasMoments)
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
    let floats = geometry.dense.paddedCount * part.floatsEach(geometry.dense)
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

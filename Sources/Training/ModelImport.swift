import Base
import Corpus
import Foundation
import Interchange
import Kernels
import Models
import Paging
package import Storage

/// Makes a run out of what `pagoda export` wrote: a run directory whose store has one generation.
/// With the moments it is at the exported step, and training goes on with the same bits; without
/// them it is at step 0 with the weights alone.
package struct ModelImport {
  package struct Report: Codable, Sendable {
    package let run: String
    package let step: Int
    package let hasOptimizer: Bool
    package let parameters: Int
    /// Blocks of experts that were written; the others are what the seed gives.
    package let writtenBlocks: Int
    package let blocks: Int
    package let seconds: Double
    package let peakRssBytes: Int
    package let memoryBudgetBytes: Int
  }

  package let source: String
  package let run: RunDirectory
  /// Of the new run.
  package let config: RunConfig
  private let state: ExportedState
  private let geometry: RunGeometry
  private let tensors: ModelTensors
  private let identity: String
  private let profiles: DriveProfiles

  private var states: [ParameterState] {
    state.hasOptimizer ? ParameterState.allCases : [.weights]
  }
  private var storePaths: [String] { Trainer.storePaths(config, run) }

  /// Reads what the export says of itself; writes nothing.
  /// - Parameters:
  ///   - corpus: where the corpus is on this machine; as exported when nil.
  ///   - storePaths: directories of the new store; `store` in the run directory when empty.
  ///   - memory: the ceiling of this process and of the new run; as exported when nil.
  /// - Throws: `ExchangeError`; `ConfigError`, `CorpusError`.
  package init(
    _ source: String, into run: RunDirectory, corpus: String? = nil, storePaths: [String] = [],
    memory: Int? = nil, profiles: DriveProfiles = .ofUser
  ) throws {
    let state = try ExportedState.read(source)
    var config = try RunConfig.load(path: "\(source)/config.yaml")
    if let corpus { config.data.corpus = corpus }
    if let memory { config.memory.budget = "\(memory)" }
    // Never where the exported run has its store.
    config.storage.paths = storePaths
    let manifest = try ParallelCorpus.readManifest(config.data.corpus)
    guard manifest.checksum == state.corpusChecksum else {
      throw ExchangeError.otherCorpus(
        path: config.data.corpus, found: manifest.checksum, wanted: state.corpusChecksum)
    }
    let identity = RunGeometry.identity(config, corpus: manifest)
    guard !state.hasOptimizer || identity == state.identity else {
      throw ExchangeError.otherConfiguration(
        path: "\(source)/config.yaml", found: identity, wanted: state.identity)
    }
    let geometry = try RunGeometry(config, vocabulary: manifest.vocabularySize)

    self.source = source
    self.run = run
    self.config = config
    self.state = state
    self.geometry = geometry
    self.identity = identity
    self.profiles = profiles
    tensors = ModelTensors(geometry.description)
  }

  /// Makes the run, or leaves nothing. A killed import leaves a run directory that only another
  /// import takes: it deletes what was begun.
  /// - Parameters:
  ///   - isStopping: asked between experts; true ends the import.
  ///   - observe: told of the blocks of experts done and to be done.
  /// - Throws: `ExchangeError`, `InterchangeError`, `MemoryRefusal`, `StorageError`.
  package func make(
    isStopping: () -> Bool = { false }, observe: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Report {
    let start = ContinuousClock.now
    let folders = try openFolders()
    let histories =
      state.hasOptimizer
      ? try state.histories(geometry.description, path: "\(source)/\(ExportedState.name)") : [:]
    _ = try TrainingSession.plan(config)
    let draft = ImportDraft(run)
    try draft.begin(config, storePaths: storePaths)
    do {
      let written = try fill(folders, histories, isStopping: isStopping, observe: observe)
      try draft.finish()
      return Report(
        run: run.path, step: state.hasOptimizer ? state.step : 0,
        hasOptimizer: state.hasOptimizer,
        parameters: geometry.description.expertBlocks * geometry.experts.parametersPerBlock
          + geometry.description.layout.count, writtenBlocks: written,
        blocks: geometry.description.expertBlocks, seconds: (ContinuousClock.now - start).seconds,
        peakRssBytes: ProcessMemory.peakResidentBytes,
        memoryBudgetBytes: try config.bytes(config.memory.budget, key: "memory.budget"))
    } catch {
      draft.takeBack(storePaths: storePaths)
      throw error
    }
  }

  /// All files, whose tensors are those of the model: none less, none more.
  private func openFolders() throws -> [String: CheckpointFolder] {
    var folders: [String: CheckpointFolder] = [:]
    for stem in Set(states.map(\.stem)) {
      let folder = try CheckpointFolder(source, stem: stem)
      var unknown = folder.names
      for state in states where state.stem == stem {
        for wanted in tensors.tensors(state) {
          guard let found = folder.tensor(wanted.name) else {
            throw ExchangeError.wrongTensor(path: source, name: wanted.name, cause: "is missing")
          }
          guard (found.type, found.shape) == (wanted.type, wanted.shape) else {
            throw ExchangeError.wrongTensor(
              path: folder.path(of: wanted.name) ?? source, name: wanted.name,
              cause: "is \(found.type.rawValue) \(found.shape), not \(wanted.type.rawValue) "
                + "\(wanted.shape) as config.yaml says")
          }
          unknown.remove(wanted.name)
        }
      }
      if let name = unknown.min() {
        throw ExchangeError.wrongTensor(
          path: folder.path(of: name) ?? source, name: name,
          cause: "is none of the model in config.yaml")
      }
      folders[stem] = folder
    }
    return folders
  }
}

// MARK: Filling the store

extension ModelImport {
  /// Opens the new store, fills it and commits; closed again when this returns.
  /// - Returns: blocks of experts written.
  private func fill(
    _ folders: [String: CheckpointFolder], _ histories: [BlockID: BlockHistory],
    isStopping: () -> Bool, observe: (Int, Int) -> Void
  ) throws -> Int {
    var session = try TrainingSession(config, storePaths: storePaths, profiles: profiles)
    guard !session.hasResumed else { throw ExchangeError.occupiedStore(path: storePaths[0]) }
    let source = TensorSource(folders, geometry.experts)
    var (done, written) = (0, 0)
    for part in tensors.parts {
      if isStopping() { throw ExchangeError.stopped }
      switch part {
      case .dense(let tensor):
        for state in states { try source.read(tensor, state, into: session.step.model.dense) }
      case .expert(let expert):
        for slice in 0..<geometry.experts.slices {
          let block = BlockID.expert(layer: expert.layer, expert.expert, slice: slice)
          if try write(block, of: expert, histories[block], from: source, &session) {
            written += 1
          }
          done += 1
        }
      }
      observe(done, geometry.description.expertBlocks)
    }
    if state.hasOptimizer { session.adopt(try RunProgress(payload: state.progress.payload())) }
    try session.commit()
    return written
  }

  /// Writes a block of the new store, unless it is what a block is that was never written.
  /// - Returns: whether it was written.
  private func write(
    _ block: BlockID, of expert: ExpertTensors, _ history: BlockHistory?,
    from source: borrowing TensorSource, _ session: inout TrainingSession
  ) throws -> Bool {
    let model = session.step.model
    let (floats, scratch) = (model.expertWeights, model.expertGradients)
    if history == nil, try isVirgin(block, of: expert, source, floats, scratch) { return false }
    var page = try session.step.pager.blank(block)
    for state in states {
      try source.read(expert, slice: block.slice, state, into: floats)
      page.set(state, to: floats)
    }
    if !state.hasOptimizer { page.clearMoments() }
    session.step.pager.writeBack(page, history: history ?? BlockHistory())
    return true
  }

  /// Whether the files have of a block exactly what the seed gives. Overwrites both buffers.
  private func isVirgin(
    _ block: BlockID, of expert: ExpertTensors, _ source: borrowing TensorSource,
    _ floats: FloatBuffer, _ scratch: FloatBuffer
  ) throws -> Bool {
    let fill = UniformFill(
      seed: UInt64(config.seed), block: block, bound: geometry.experts.bound)
    fill.fill(scratch.matrix(rows: 1, columns: scratch.count), first: 0)
    for state in states {
      try source.read(expert, slice: block.slice, state, into: floats)
      guard isSame(floats.span, scratch.span) else { return false }
      scratch.matrix(rows: 1, columns: scratch.count).fill(0)
    }
    return true
  }

  private func isSame(_ a: Span<Float>, _ b: Span<Float>) -> Bool {
    a.indices.allSatisfy { a[$0].bitPattern == b[$0].bitPattern }
  }
}

extension Page {
  /// Overwrites the planes of one state with `floats`.
  mutating func set(_ state: ParameterState, to floats: FloatBuffer) {
    let source = floats.matrix(rows: 1, columns: floats.count)
    var spans = spans
    switch state {
    case .weights: splitMaster(source, hi: &spans.hi, lo: &spans.lo)
    case .firstMoment: source.copy(into: &spans.m)
    case .secondMoment: source.copy(into: &spans.v)
    }
  }

  mutating func clearMoments() {
    var spans = spans
    spans.m.update(repeating: 0)
    spans.v.update(repeating: 0)
  }
}

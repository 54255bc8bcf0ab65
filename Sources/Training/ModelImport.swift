import Base
import Corpus
import Foundation
import Interchange
import Kernels
import Models
import Paging
package import Storage

/// Makes a run out of a model's folder: a run directory whose store has one generation.
///
/// Of what `pagoda export --optimizer` wrote, the run is at the exported step and training goes on with
/// the same bits. Of weights alone, be they an export's or those of a published model, it is at step 0.
package struct ModelImport {
  package struct Report: Codable, Sendable {
    package let run: String
    package let family: String
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

  /// What else than the folder decides.
  package struct Options: Sendable {
    /// Where the corpus is on this machine; as exported, or to be told later, when nil.
    package var corpus: String?
    /// Directories of the new store; `store` in the run directory when empty.
    package var storePaths: [String] = []
    /// The ceiling of this process and of the new run.
    package var memory: Int?
    /// The configuration of the new run of a published model.
    package var config: RunConfig?
    /// Whether files of weights may be symbolic links.
    package var followsLinks = false
    package var profiles = DriveProfiles.ofUser

    package init() {}
  }

  private enum Origin {
    case export(ExportedState)
    /// A published model, with the moments of an export if it was trained here.
    case published(PublishedModel, ExportedState?)

    var state: ExportedState? {
      switch self {
      case .export(let state): state
      case .published(_, let state): state
      }
    }
  }

  package let source: String
  package let run: RunDirectory
  /// Of the new run; a published model is still where it comes from.
  package let config: RunConfig
  private let origin: Origin
  private let geometry: RunGeometry
  private let tensors: ModelTensors
  private let identity: String
  private let options: Options

  private var hasOptimizer: Bool { origin.state?.hasOptimizer ?? false }
  private var states: [ParameterState] { hasOptimizer ? ParameterState.allCases : [.weights] }
  private var storePaths: [String] { Trainer.storePaths(config, run) }

  /// Reads what the folder says of itself; writes nothing.
  /// - Throws: `ExchangeError`, `InterchangeError`; `ConfigError`, `CorpusError`.
  package init(_ source: String, into run: RunDirectory, _ options: Options = Options()) throws {
    let isExport = FileManager.default.fileExists(atPath: "\(source)/\(ExportedState.name)")
    let state = isExport ? try ExportedState.read(source) : nil
    var config =
      isExport
      ? try RunConfig.load(path: "\(source)/config.yaml")
      : options.config ?? RunConfig.forFineTuning()
    let isPublished = !isExport || PublishedFamily(rawValue: config.model.family) != nil
    if isExport && options.config != nil {
      throw ExchangeError.configuredExport(path: source)
    }
    if let corpus = options.corpus { config.data.corpus = corpus }
    if let memory = options.memory { config.memory.budget = "\(memory)" }
    // Never where the exported run has its store.
    config.storage.paths = options.storePaths
    let shape: CorpusShape?
    if isPublished {
      let model = try Self.published(source, &config)
      // Before anything is made as large as the configuration says.
      try CheckpointTensors.requireGeometry(model, followsLinks: options.followsLinks)
      origin = .published(model, state)
      shape = nil
      identity = try RunGeometry.identity(config, corpus: "")
    } else if let state {
      origin = .export(state)
      let manifest = try Self.corpus(config, of: state)
      shape = CorpusShape(manifest)
      identity = try RunGeometry.identity(config, corpus: manifest.checksum)
    } else {
      preconditionFailure("either an export or a published model")
    }
    if let state, state.hasOptimizer, identity != state.identity {
      throw ExchangeError.otherConfiguration(
        path: "\(source)/config.yaml", found: identity, wanted: state.identity)
    }
    geometry = try RunGeometry(config, corpus: shape)
    tensors = ModelTensors(geometry.description)
    (self.source, self.run, self.config, self.options) = (source, run, config, options)
  }

  /// The model in `source`, which `config` is told of.
  private static func published(
    _ source: String, _ config: inout RunConfig
  ) throws -> PublishedModel {
    guard FileManager.default.fileExists(atPath: "\(source)/\(PublishedModel.configName)") else {
      throw ExchangeError.notAnExport(
        path: "\(source)/\(PublishedModel.configName)", cause: "there is no such file")
    }
    let model = try PublishedModel(folder: source)
    // A configuration that says nothing of the family has the standard one.
    if config.model.family == RunConfig().model.family {
      config.model.family = model.family.rawValue
    }
    config.model.path = source
    _ = try config.publishedModel()
    return model
  }

  /// The corpus an export was trained on.
  private static func corpus(
    _ config: RunConfig, of state: ExportedState
  ) throws -> CorpusManifest {
    let manifest = try ParallelCorpus.readManifest(config.data.corpus)
    guard manifest.checksum == state.corpusChecksum else {
      throw ExchangeError.otherCorpus(
        path: config.data.corpus, found: manifest.checksum, wanted: state.corpusChecksum)
    }
    return manifest
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
    let source = try tensorSource()
    let histories =
      try origin.state.map {
        $0.hasOptimizer
          ? try $0.histories(geometry.description, path: "\(self.source)/\(ExportedState.name)")
          : [:]
      } ?? [:]
    _ = try StoreFilling.plan(config, geometry)
    if case .export = origin { _ = try TrainingSession.plan(config) }
    let draft = RunDraft(run)
    try draft.begin(config.unresolved(in: run, from: self.source), storePaths: storePaths)
    do {
      if case .published = origin {
        try draft.copyModel(self.source, followsLinks: options.followsLinks)
      }
      let written = try fill(source, histories, isStopping: isStopping, observe: observe)
      try draft.finish()
      return Report(
        run: run.path, family: config.model.family,
        step: hasOptimizer ? origin.state?.step ?? 0 : 0,
        hasOptimizer: hasOptimizer,
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
  private func tensorSource() throws -> TensorSource {
    var folders: [String: CheckpointFolder] = [:]
    var renamed: [String: String] = [:]
    for stem in Set(states.map(\.stem)) {
      if stem == ParameterState.weights.stem, case .published(let model, _) = origin {
        let found = try CheckpointTensors(model, tensors, followsLinks: options.followsLinks)
        (folders[stem], renamed) = (found.folder, found.renamed)
      } else {
        folders[stem] = try exportedFolder(stem)
      }
    }
    return TensorSource(folders, renamed: renamed, geometry.experts)
  }

  /// Files that an export wrote, whose tensors are float32.
  private func exportedFolder(_ stem: String) throws -> CheckpointFolder {
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
    return folder
  }
}

// MARK: Filling the store

extension ModelImport {
  /// Opens the new store, fills it and commits; closed again when this returns.
  /// - Returns: blocks of experts written.
  private func fill(
    _ source: borrowing TensorSource, _ histories: [BlockID: BlockHistory],
    isStopping: () -> Bool, observe: (Int, Int) -> Void
  ) throws -> Int {
    var filling = try StoreFilling(
      config, geometry, identity: identity, storePaths: storePaths, profiles: options.profiles)
    var progress = RunProgress()
    if let state = origin.state, state.hasOptimizer {
      progress = try RunProgress(payload: state.progress.payload())
    }
    progress.keep(config.model)
    let dense = tensors.dense
    for block in 0..<geometry.dense.count {
      if isStopping() { throw ExchangeError.stopped }
      try filling.write(dense: block, states, step: progress.step) { state, range, floats in
        for tensor in dense where tensor.range.overlaps(range) {
          try source.read(tensor, state, range, into: floats)
        }
      }
    }
    var (done, written) = (0, 0)
    for case .expert(let expert) in tensors.parts {
      if isStopping() { throw ExchangeError.stopped }
      for slice in 0..<geometry.experts.slices {
        let block = BlockID.expert(layer: expert.layer, expert.expert, slice: slice)
        if try write(block, of: expert, histories[block], from: source, &filling) {
          written += 1
        }
        done += 1
      }
      observe(done, geometry.description.expertBlocks)
    }
    try filling.commit(progress)
    return written
  }

  /// Writes a block of the new store, unless it is what a block is that was never written.
  /// - Returns: whether it was written.
  private func write(
    _ block: BlockID, of expert: ExpertTensors, _ history: BlockHistory?,
    from source: borrowing TensorSource, _ filling: inout StoreFilling
  ) throws -> Bool {
    // What was published is nowhere what a seed gives.
    if case .export = origin, history == nil,
      try isVirgin(block, of: expert, source, filling.block, filling.scratch)
    {
      return false
    }
    try filling.write(block, states, history: history ?? BlockHistory()) { state, floats in
      try source.read(expert, slice: block.slice, state, into: floats)
    }
    return true
  }

  /// Whether the files have of a block exactly what the seed gives. Overwrites both buffers.
  private func isVirgin(
    _ block: BlockID, of expert: ExpertTensors, _ source: borrowing TensorSource,
    _ floats: FloatBuffer, _ scratch: FloatBuffer
  ) throws -> Bool {
    let fill = UniformFill(
      seed: UInt64(config.seed), block: block, bound: geometry.experts.bound)
    let seeded = scratch.matrix(rows: 1, columns: scratch.count)
    fill.fill(seeded, first: 0)
    if geometry.record.format.master == .bf16 { dropRemainders(seeded) }
    for state in states {
      try source.read(expert, slice: block.slice, state, into: floats)
      guard isSame(floats.span, scratch.span) else { return false }
      seeded.fill(0)
    }
    return true
  }

  private func isSame(_ a: Span<Float>, _ b: Span<Float>) -> Bool {
    a.indices.allSatisfy { a[$0].bitPattern == b[$0].bitPattern }
  }
}

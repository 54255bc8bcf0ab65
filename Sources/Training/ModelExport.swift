import Base
import Corpus
import Foundation
package import Interchange
import Kernels
import Models
import Paging
import Storage

/// Writes the last committed generation of a run as sharded safetensors: the weights, with
/// `hasOptimizer` the moments too, and what training needs to go on. A published model is written as
/// it was published. Blocks, of experts and of the dense part, come from the store one after another
/// under a memory ceiling of their own.
package struct ModelExport: ~Copyable {
  package struct Options: Sendable {
    package var hasOptimizer = false
    /// Of the weights, `f32` or `bf16`; the moments are always `f32`.
    package var type = ElementType.f32
    /// Most bytes of tensors in a file.
    package var shardBytes = 5_000_000_000
    package var memory = 512 << 20
    /// Most rows of a tensor that are turned at a time. Fewer than all read the expert again.
    package var panelRowsMax = Int.max

    package init() {}
  }

  package struct Report: Codable, Sendable {
    package let directory: String
    package let step: Int
    package let parameters: Int
    package let hasOptimizer: Bool
    package let dtype: String
    package let files: Int
    package let bytes: Int
    package let seconds: Double
    package let peakRssBytes: Int
    package let memoryBudgetBytes: Int
  }

  private let config: RunConfig
  private let options: Options
  /// What is written beside the tensors.
  private let companions: ExportCompanions
  private let geometry: RunGeometry
  private let tensors: ModelTensors
  private let store: Store
  private let generation: Generation
  /// One block of the dense part, each state that is written of it.
  private let dense: [ParameterState: FloatBuffer]
  private var denseBlock: Int?
  /// One block as floats.
  private let block: FloatBuffer
  /// Rows of a tensor that is kept transposed, as many as the memory is good for.
  private let panel: FloatBuffer
  private let panelRows: Int
  private var pager: Pager
  private let workers: Workers
  /// The first of the parts, in order, that nobody has planned visits of, and the last block of the dense
  /// part that was planned.
  private var unplannedPart = 0
  private var plannedBlock: Int?

  private var shape: ExpertShape { geometry.experts }
  private var states: [ParameterState] { Self.states(options) }

  private static func states(_ options: Options) -> [ParameterState] {
    options.hasOptimizer ? ParameterState.allCases : [.weights]
  }

  /// - Throws: `TrainingError.nothingToResume` when the run has committed nothing yet;
  ///   `MemoryRefusal` naming the allocation that does not fit.
  package init(_ run: RunDirectory, _ config: RunConfig, _ options: Options) throws {
    precondition(
      options.type == .f32 || options.type == .bf16 && !options.hasOptimizer,
      "training goes on from float32")
    let isPublished = PublishedFamily(rawValue: config.model.family) != nil
    if isPublished, !config.model.kept_experts.isEmpty {
      throw ExchangeError.prunedExport(path: run.path)
    }
    let companions = try ExportCompanions(config)
    let geometry = try RunGeometry(config, corpus: companions.corpus)
    if options.hasOptimizer, geometry.record.format.factors != nil {
      throw ExchangeError.factoredMoments(path: run.path)
    }
    let tensors = ModelTensors(geometry.description)
    let panelColumns = Self.panelColumns(geometry.description)
    let panelRows = Self.panelRows(geometry.experts, panelColumns, options)
    let plan = try Self.plan(config, geometry, tensors, options, panel: panelRows * panelColumns)
    let ledger = MemoryLedger(ceiling: options.memory)
    for grant in plan.fixed { try ledger.grant(grant.name, bytes: grant.bytes) }
    let store = try config.storedRun(in: run)
    guard let generation = store.generation else {
      throw TrainingError.nothingToResume(path: run.path)
    }
    let workers = Workers(count: geometry.exchangeThreads)
    var pager = try Pager(store: store, frames: plan.frames, ledger: ledger)
    pager.computeChecksums(on: workers)

    self.config = config
    self.options = options
    self.companions = companions
    self.geometry = geometry
    self.tensors = tensors
    self.store = store
    self.generation = generation
    self.pager = pager
    self.workers = workers
    dense = Self.states(options).reduce(into: [:]) {
      $0[$1] = FloatBuffer(count: geometry.dense.parametersPerBlock)
    }
    block = FloatBuffer(count: geometry.experts.parametersPerBlock)
    panel = FloatBuffer(count: panelRows * panelColumns)
    self.panelRows = panelRows
  }

  /// Hidden units of the widest feed-forward, of experts or of a dense layer.
  private static func panelColumns(_ description: ModelDescription) -> Int {
    description.layers.reduce(description.experts.hidden) { widest, layer in
      guard case .dense(let ffn) = layer.feedForward else { return widest }
      return max(widest, ffn.second.rows)
    }
  }

  /// All of a tensor of [width, hidden] when it fits an eighth of the memory.
  private static func panelRows(_ shape: ExpertShape, _ columns: Int, _ options: Options) -> Int {
    let rows = options.memory / 8 / (columns * MemoryLayout<Float>.stride)
    return max(1, min(shape.width, rows, options.panelRowsMax))
  }

  /// Heap that the names, places and headers of the tensors take, for each of them.
  private static let tableBytesPerTensor = 1536
  /// And the text of the history, for each block.
  private static let historyBytesPerBlock = 512

  private static func plan(
    _ config: RunConfig, _ geometry: RunGeometry, _ tensors: ModelTensors, _ options: Options,
    panel: Int
  ) throws -> MemoryPlan {
    let (shape, float) = (geometry.experts, MemoryLayout<Float>.stride)
    let count = 2 * tensors.parts.count * (options.hasOptimizer ? 3 : 1)
    return try MemoryPlan(
      ceiling: options.memory,
      fixed: [
        .init(
          name: "program, runtime and libraries",
          bytes: MemoryPlan.runtimeBytes(threads: geometry.exchangeThreads)),
        geometry.storeTables(config, isReadOnly: true),
        .init(
          name: "tables of tensors and blocks",
          bytes: count * tableBytesPerTensor + geometry.description.expertBlocks
            * historyBytesPerBlock),
        .init(
          name: "one block of the dense part",
          bytes: states(options).count * geometry.dense.parametersPerBlock * float),
        .init(
          name: "one block and rows of an expert",
          bytes: (shape.parametersPerBlock + panel) * float),
      ],
      geometry: geometry.record, blocks: geometry.blocks, resident: false)
  }
}

// MARK: Writing

extension ModelExport {
  /// Makes the directory `path`, or leaves nothing.
  /// - Parameters:
  ///   - isStopping: asked between experts; true ends the export.
  ///   - observe: told of the bytes of tensors written and to be written.
  /// - Throws: `InterchangeError`, `StorageError`; `ExchangeError.stopped`.
  package mutating func write(
    to path: String, isStopping: () -> Bool = { false },
    observe: (_ written: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Report {
    let start = ContinuousClock.now
    let stems = Set(states.map(\.stem)).sorted()
    let layouts = stems.map { stem in
      SafetensorsShards(
        states.filter { $0.stem == stem }.flatMap { tensors.tensors($0, options.type) }, stem: stem,
        shardBytes: options.shardBytes)
    }
    let small = try companions.files(store, generation, options)
    let total = layouts.reduce(small.reduce(0) { $0 + $1.bytes.count }) { $0 + $1.byteCount }
    let staged = try StagedDirectory(path, neededBytes: total)
    for file in small { try writeSynced(file.bytes, to: "\(staged.path)/\(file.name)") }
    var target = TensorTarget(
      writers: try zip(stems, layouts).reduce(into: [:]) {
        $0[$1.0] = try SafetensorsWriter($1.1, in: staged.path)
      }, type: options.type)
    for part in tensors.parts {
      if isStopping() { throw ExchangeError.stopped }
      planAhead()
      switch part {
      case .dense(let tensor): try write(tensor, to: &target)
      case .expert(let expert): try write(expert, to: &target)
      }
      observe(target.written, total)
    }
    for writer in target.writers.values { try writer.finish() }
    try staged.publish()
    let files = layouts.reduce(small.count) { $0 + $1.shards.count + ($1.index == nil ? 0 : 1) }
    return Report(
      directory: path, step: generation.step,
      parameters: geometry.description.expertBlocks * shape.parametersPerBlock
        + geometry.description.layout.count,
      hasOptimizer: options.hasOptimizer, dtype: options.type.torchName, files: files, bytes: total,
      seconds: (ContinuousClock.now - start).seconds,
      peakRssBytes: ProcessMemory.peakResidentBytes, memoryBudgetBytes: options.memory)
  }

  /// Planned visits that keep every frame busy; each costs a few words.
  private static let visitsAhead = 64

  /// Plans the visits of further parts, those of the next one in any case, so that blocks are read while
  /// those before them are written to the files.
  private mutating func planAhead() {
    while pager.plannedCount < Self.visitsAhead, unplannedPart < tensors.parts.count {
      pager.plan(visits(of: tensors.parts[unplannedPart]))
      unplannedPart += 1
    }
  }

  /// What `write` takes of the pager for a part, when those before it have been written.
  private mutating func visits(of part: ModelTensors.Part) -> [Visit] {
    switch part {
    case .dense(let tensor):
      let planes = options.hasOptimizer ? .all : geometry.dense.weightPlanes
      return geometry.dense.blocks(of: tensor.range).compactMap { block in
        defer { plannedBlock = block }
        return block == plannedBlock ? nil : Visit(.dense(block), planes)
      }
    case .expert(let expert):
      return states.flatMap { state in
        panels.flatMap { _ in slices(of: expert).map { Visit($0, state.planes) } }
      }
    }
  }

  private func slices(of expert: ExpertTensors) -> [BlockID] {
    (0..<shape.slices).map { .expert(layer: expert.layer, expert.expert, slice: $0) }
  }

  /// Reads what is not here yet of the blocks that have a part of the tensor.
  private mutating func write(_ tensor: DenseTensor, to target: inout TensorTarget) throws {
    for block in geometry.dense.blocks(of: tensor.range) {
      try readDense(block)
      let range = geometry.dense.range(block)
      for area in tensor.areas(in: range) {
        let first = tensor.offset(of: area)
        let place = first - range.lowerBound
        for state in states {
          if tensor.isTransposed {
            try writeTransposed(area, of: tensor, state, from: place, to: &target)
          } else {
            try target.write(
              floats(state), place..<place + area.rows.count * area.columns.count,
              to: tensor.name, state, at: first - tensor.range.lowerBound)
          }
        }
      }
    }
  }

  private func floats(_ state: ParameterState) -> FloatBuffer {
    guard let floats = dense[state] else { preconditionFailure("a buffer for each state") }
    return floats
  }

  /// Has the states of a block of the dense part in `dense`.
  private mutating func readDense(_ block: Int) throws {
    guard denseBlock != block else { return }
    let page = try geometry.dense.next(block, &pager)
    for (state, floats) in dense {
      let target = floats.matrix(rows: 1, columns: floats.count)
      geometry.dense.read(state, of: page, into: target, on: workers)
    }
    pager.keep(page)
    denseBlock = block
  }

  /// An area that begins at `place` of the block at hand. The file has its columns as rows, of which
  /// each is written by itself where the area has not all of it.
  private func writeTransposed(
    _ area: TensorArea, of tensor: DenseTensor, _ state: ParameterState, from place: Int,
    to target: inout TensorTarget
  ) throws {
    let source = floats(state).matrix(
      rows: area.rows.count, columns: area.columns.count, offset: place)
    for first in stride(from: 0, to: area.columns.count, by: panelRows) {
      let columns = first..<min(first + panelRows, area.columns.count)
      let turned = panel.matrix(rows: columns.count, columns: area.rows.count)
      transpose(source.columns(columns), into: turned)
      let isWhole = area.rows.count == tensor.rows
      for (row, column) in columns.enumerated() where !isWhole || row == 0 {
        let count = isWhole ? columns.count : 1
        try target.write(
          panel, row * area.rows.count..<(row + count) * area.rows.count, to: tensor.name, state,
          at: (area.columns.lowerBound + column) * tensor.rows + area.rows.lowerBound)
      }
    }
  }

  /// Reads every plane once, unless the memory is too small for all rows of `fc2` at a time.
  private mutating func write(_ expert: ExpertTensors, to target: inout TensorTarget) throws {
    let hidden = expert.names.hidden ?? shape.hidden
    for state in states {
      for rows in panels {
        let turned = panel.matrix(rows: rows.count, columns: hidden)
        for slice in 0..<shape.slices {
          try readNext(state)
          if rows.lowerBound == 0 { try writeRows(of: expert.names, slice, state, to: &target) }
          let units = shape.units(of: slice, expert.names)
          guard !units.isEmpty else { continue }
          let second = shape.matrix(1, of: block).rows(0..<units.count)
          transpose(second.columns(rows), into: turned.columns(units))
        }
        try target.write(
          panel, 0..<rows.count * hidden, to: expert.names.second, state,
          at: rows.lowerBound * hidden)
      }
    }
  }

  /// The tensors of the block at hand that files have as the block does, without units that they do
  /// not have.
  private func writeRows(
    of names: ExpertNames, _ slice: Int, _ state: ParameterState, to target: inout TensorTarget
  ) throws {
    let (whole, units) = (shape.sliceHidden * shape.width, shape.units(of: slice, names))
    let (count, start) = (units.count * shape.width, units.lowerBound * shape.width)
    let biases = shape.matrixParameters
    if !units.isEmpty {
      try target.write(block, 0..<count, to: names.first, state, at: start)
      if let third = names.third {
        try target.write(block, 2 * whole..<2 * whole + count, to: third, state, at: start)
      }
      if let first = names.firstBias {
        try target.write(
          block, biases..<biases + units.count, to: first, state, at: units.lowerBound)
      }
    }
    if let second = names.secondBias, slice == 0 {
      let first = biases + shape.sliceHidden
      let range = first..<first + shape.width
      try target.write(block, range, to: second, state, at: 0)
    }
  }

  /// The next planned block as floats.
  private mutating func readNext(_ state: ParameterState) throws {
    var page = try pager.next()
    page.initialiseIfVirgin(shape, seed: UInt64(config.seed))
    page.read(state, into: block, on: workers)
    pager.keep(page)
  }

  /// The rows of a tensor of [width, hidden], in pieces that fit the panel.
  private var panels: [Range<Int>] {
    stride(from: 0, to: shape.width, by: panelRows).map {
      $0..<min($0 + panelRows, shape.width)
    }
  }
}

import Base
import Corpus
import DirectIO
import Kernels
import Models
package import Storage
package import Training

/// Aggregation of experts (Kim et al., "Scalable and efficient MoE training for multitask multilingual
/// models", 2021): of two runs of one shape a run with the experts of both. Shared weights are averaged,
/// gates are stacked.
///
///     experts  0 ..< E of the first, E ..< 2E of the second;  W_gate = [W_A ; W_B];  others (A + B) / 2
///
/// The softmax over twice as many experts halves the weights of choices at first where both gates are as
/// sure: the loss starts above those of the two, and falls within some steps.
package struct Aggregation {
  /// What becomes of the moments.
  package enum Moments: String, Sendable, CaseIterable {
    /// Those of experts stay, those of shared weights are averaged; the run goes on at its step.
    case keep
    /// All are zero and the run begins at step 0, as AdamW's correction of their bias does.
    case zero
  }

  package struct Report: Codable, Sendable {
    package let run: String
    package let experts: Int
    package let step: Int
    package let denseParameters: Int
    /// Records of experts taken over as they were, and written anew.
    package let adopted: Int
    package let written: Int
  }

  /// Of the new run.
  package let config: RunConfig
  private let a: SourceRun
  private let b: SourceRun
  private let moments: Moments
  private let disk: any Disk
  private let others: [MemoryLedger.Grant]

  /// - Throws: `SurgeryError`; what opening the runs throws.
  package init(
    _ a: (directory: RunDirectory, config: RunConfig),
    _ b: (directory: RunDirectory, config: RunConfig), moments: Moments, storePaths: [String] = []
  ) throws {
    for run in [a, b] where try run.config.publishedModel() != nil {
      throw SurgeryError.published(path: run.directory.path)
    }
    let differences = try Self.differences(a.config, b.config)
    guard differences.isEmpty else {
      throw SurgeryError.different(path: b.directory.path, differences: differences)
    }
    disk = openDisk(queueDepth: 32).disk
    var config = a.config
    config.model.num_experts *= 2
    config.storage.paths = storePaths
    try config.validate()
    (self.config, self.moments) = (config, moments)
    others = try Self.memory(a.config, moments)
    try DerivedRun(a.directory, config).requireMemory(others: others)
    let part = Self.part(moments)
    self.a = try SourceRun(a.directory, a.config, disk: disk, dense: part)
    self.b = try SourceRun(b.directory, b.config, disk: disk, dense: part)
    let (step, other) = (self.b.progress.step, self.a.progress.step)
    if moments == .keep, step != other {
      throw SurgeryError.otherStep(path: b.directory.path, step: step, other: other)
    }
  }

  private static func part(_ moments: Moments) -> SourceRun.Dense {
    moments == .keep ? .all : .weights
  }

  /// Both runs, a reader of their experts, and the new dense part, which is no larger than theirs together.
  private static func memory(
    _ config: RunConfig, _ moments: Moments
  ) throws -> [MemoryLedger.Grant] {
    let one = try SourceRun.memory(config, dense: part(moments))
    return [.init(name: "tables and dense parts of two runs and their union", bytes: 5 * one.bytes)]
  }

  /// In what decides where something is in the stores, and what weights mean.
  private static func differences(_ a: RunConfig, _ b: RunConfig) throws -> [String] {
    var differences: [String] = []
    if a.model != b.model { differences.append("other values in the section model") }
    if !(a.model.kept_experts + b.model.kept_experts).isEmpty {
      differences.append("pruned experts have no place")
    }
    if a.storage.block_bytes != b.storage.block_bytes {
      differences.append("another storage.block_bytes")
    }
    let formats = [a.training, b.training].map { [$0.states, $0.master, $0.optim] }
    if formats[0] != formats[1] {
      differences.append("another training.states, training.master or training.optim")
    }
    let (mine, theirs) = try (
      ParallelCorpus.readManifest(a.data.corpus), ParallelCorpus.readManifest(b.data.corpus)
    )
    if mine.tokens != theirs.tokens { differences.append("corpora with another tokenizer") }
    return differences
  }

  /// Makes the new run in `run`.
  /// - Parameter progress: told of bytes that are taken over.
  /// - Throws: `ExchangeError`, `MemoryRefusal`, `StorageError`.
  package func make(
    _ run: RunDirectory, profiles: DriveProfiles = .ofUser,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> Report {
    let step = moments == .keep ? a.progress.step : 0
    let adopted = moments == .keep ? written(a) + written(b) : []
    var anew = 0
    try DerivedRun(run, config, profiles: profiles).make(
      on: disk, others: others
    ) { filling in
      try filling.adopt(adopted, progress: progress)
      anew += try write(b, except: Set(adopted.map(\.to)), all: true, &filling)
      if moments == .zero { anew += try write(a, except: [], all: false, &filling) }
      try writeDense(step: step, &filling)
      return moments == .keep ? a.progress : RunProgress()
    }
    return Report(
      run: run.path, experts: config.model.num_experts, step: step,
      denseParameters: try config.description().layout.count, adopted: adopted.count,
      written: anew)
  }

  // MARK: Experts

  /// Where an expert of one of the runs goes.
  private func place(_ block: BlockID, of run: SourceRun) -> BlockID {
    let first = run.store === b.store ? a.description.experts.count : 0
    return .expert(layer: block.layer, first + block.index, slice: block.slice)
  }

  /// What the store of a run has of experts.
  private func written(_ run: SourceRun) -> [Store.Adoption] {
    run.store.writtenBlocks.filter { $0.kind == .expert }
      .map { Store.Adoption(run.store, $0, as: place($0, of: run)) }
  }

  /// Writes the weights of a run's experts anew, with moments of zero.
  /// - Parameter all: those as well that were never written: of the second run, whose seed is not that of
  ///   the new one.
  /// - Returns: how many were written.
  private func write(
    _ run: SourceRun, except done: Set<BlockID>, all: Bool, _ filling: inout StoreFilling
  ) throws -> Int {
    let experts = run.description.experts
    var reader = try ExpertReader(run.directory, run.config)
    guard reader.generation == run.store.generation else {
      throw SurgeryError.changed(path: run.directory.path)
    }
    var count = 0
    for layer in 0..<run.description.mixtures {
      for expert in 0..<experts.count {
        for slice in 0..<experts.slices {
          let block = BlockID.expert(layer: layer, expert, slice: slice)
          let target = place(block, of: run)
          guard !done.contains(target), all || run.store.record(of: block) != nil else { continue }
          try filling.write(target, [.weights], history: BlockHistory()) { _, floats in
            try reader.readWeights(block, into: floats)
          }
          count += 1
        }
      }
    }
    return count
  }

  // MARK: The dense part

  private func writeDense(step: Int, _ filling: inout StoreFilling) throws {
    let layout = try config.description().layout
    let states = moments == .keep ? filling.denseStates : [.weights]
    let hasFactors = moments == .keep && !filling.denseStates.contains(.secondMoment)
    let count = layout.count + (hasFactors ? layout.factorCount : 0)
    let vectors = states.map { state in
      let united = FloatBuffer(count: count)
      for (number, (slot, old)) in zip(layout.slots, a.dense.layout.slots).enumerated() {
        unite(state.vector, slot, old, into: united)
        if hasFactors { uniteFactors(number, old, layout.factors(of: number), into: united) }
      }
      return (state: state, united: united)
    }
    for (block, _) in filling.denseBlocks.enumerated() {
      try filling.write(dense: block, states, step: step) { state, range, floats in
        guard let united = vectors.first(where: { $0.state == state })?.united else { return }
        let part = range.clamped(to: 0..<count)
        floats.matrix(rows: 1, columns: part.count).copy(
          from: united.matrix(rows: 1, columns: part.count, offset: part.lowerBound))
      }
    }
  }

  /// One tensor of the new run: the mean of both, or, where it has twice the rows, one above the other.
  private func unite(
    _ vector: KeyPath<DenseParameters, FloatBuffer>, _ slot: TensorSlot, _ old: TensorSlot,
    into united: FloatBuffer
  ) {
    let (first, second) = (a.dense.flat(vector, old.range), b.dense.flat(vector, old.range))
    func target(_ offset: Int) -> Matrix {
      united.matrix(rows: 1, columns: old.count, offset: slot.offset + offset)
    }
    target(0).copy(from: first)
    if slot.count == old.count {
      add(second, to: target(0), on: .inline)
      scale(target(0), by: 0.5, on: .inline)
    } else {
      precondition(
        slot.rows == 2 * old.rows && slot.columns == old.columns, "a gate of twice as many")
      target(old.count).copy(from: second)
    }
  }
}

extension Aggregation {
  /// Of tensor number `number`, in `range`: means as its parameters are; of a gate of twice as many rows one
  /// run's means of rows behind the other's, and both runs' of columns averaged.
  private func uniteFactors(
    _ number: Int, _ old: TensorSlot, _ range: Range<Int>, into united: FloatBuffer
  ) {
    let (first, second) = (a.dense.factors(number), b.dense.factors(number))
    let stacked = range.count - first.columns
    let target = united.matrix(rows: 1, columns: range.count, offset: range.lowerBound)
    target.columns(0..<stacked).copy(from: first.columns(0..<stacked))
    target.columns(stacked..<2 * stacked).copy(from: second.columns(0..<stacked))
    let mean = target.columns(2 * stacked..<range.count)
    mean.copy(from: first.columns(stacked..<first.columns))
    add(second.columns(stacked..<second.columns), to: mean, on: .inline)
    scale(mean, by: 0.5, on: .inline)
  }
}

extension ParameterState {
  fileprivate var vector: KeyPath<DenseParameters, FloatBuffer> {
    switch self {
    case .weights: \.weights
    case .firstMoment: \.firstMoments
    case .secondMoment: \.secondMoments
    }
  }
}

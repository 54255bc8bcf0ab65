import Base
import Corpus
import Layers
import Models
import Optimizers
import Paging
import Storage
import Tracing

/// The sizes that follow from a configuration and its corpus, before anything large is allocated.
struct RunGeometry: Sendable {
  let description: ModelDescription
  let limits: BatchLimits
  let record: RecordGeometry
  let dense: DenseBlocks
  let threads: Int
  /// In memory, until the plan decides otherwise.
  var boundaries: BoundaryPlan
  /// What is kept beside boundaries: nothing, or all layers, until the plan decides otherwise.
  var tapes: TapePlan
  /// Gradients that may wait for the next forward sweep; none until the plan decides otherwise.
  var heldGradients = 0
  /// Whether the dense part comes into memory layer by layer.
  var isDensePaged: Bool

  var experts: ExpertShape { description.experts }
  var blocks: Int { description.expertBlocks + dense.count }

  /// - Parameter corpus: of zcode; a published model has a vocabulary of its own.
  init(_ config: RunConfig, corpus: CorpusShape?) throws {
    description = try ModelDescription(config, corpus: corpus)
    let experts = description.experts
    let rows = config.training.micro_batch_tokens
    limits = BatchLimits(
      microBatches: config.training.gradient_accumulation_steps, microBatchRows: rows,
      sequenceRows: config.data.max_sequence_tokens,
      expertRows: description.expertRows(of: rows))
    record = RecordGeometry(
      parametersPerBlock: experts.parametersPerBlock, RecordFormat(config, experts))
    dense = DenseBlocks(record: record, layout: description.layout)
    boundaries = BoundaryPlan(
      description, limits, Self.precision(config), isOnDisk: config.memory.spill == "always")
    tapes = TapePlan(description, limits, Self.recompute(config))
    isDensePaged = config.memory.dense == "paged"
    threads = config.compute.threads > 0 ? config.compute.threads : ProcessMemory.cores
  }

  /// The ways to run it that the configuration allows, those first that move the fewest bytes beside
  /// the experts'.
  func alternatives(_ config: RunConfig) -> [RunGeometry] {
    guard !config.memory.resident else { return [self] }
    var ways = [self]
    if let spilled = spilled(config) { ways.append(spilled) }
    if config.memory.dense == "automatic" {
      ways += ways.map { way in
        var paged = way
        paged.isDensePaged = true
        return paged
      }
    }
    return ways.sorted { $0.furtherBytesPerStep < $1.furtherBytesPerStep }
  }

  /// What a step moves to and from the disk beside experts: boundaries there and back; the dense part
  /// as halves in both sweeps, whole for the update, and back.
  private var furtherBytesPerStep: Int {
    (boundaries.isOnDisk ? 2 * (boundaries.scratch?.fileBytes ?? 0) : 0)
      + (isDensePaged
        ? dense.count * (2 * 4 * dense.parametersPerBlock + 2 * record.recordBytes) : 0)
  }

  /// The same run with its boundaries on the disk; nil where that is not wanted or saves nothing.
  private func spilled(_ config: RunConfig) -> RunGeometry? {
    guard config.memory.spill == "automatic" else { return nil }
    var spilled = self
    spilled.boundaries = BoundaryPlan(
      description, limits, Self.precision(config), isOnDisk: true)
    return spilled.activationBytes < activationBytes ? spilled : nil
  }

  /// Whether tapes that memory has no room for should go to the drives.
  var drivesHaveTime: Bool {
    let pairs = limits.microBatches * limits.microBatchRows * description.routing.expertsPerToken
    let records = description.expertBlocks * (record.weightFrameBytes + 2 * record.recordBytes)
    let parameters = description.expertBlocks * experts.parametersPerBlock
    return TapePlan.drivesHaveTime(
      width: description.width, expertTokens: Double(pairs) / Double(experts.count),
      otherBytes: Double(records + furtherBytesPerStep) / Double(parameters), threads: threads)
  }

  /// Settings with which the run would take less memory.
  func savings(_ config: RunConfig) -> [String] {
    let others: [(String, BoundaryPlan)] = [
      (
        "memory.spill=always",
        BoundaryPlan(description, limits, Self.precision(config), isOnDisk: true)
      ),
      (
        "training.boundaries=bf16 for a new run",
        BoundaryPlan(description, limits, .bf16, isOnDisk: boundaries.isOnDisk)
      ),
    ]
    let held = heldGradients == 0 ? [] : ["memory.held_gradients=automatic"]
    let paged = isDensePaged ? [] : ["memory.dense=paged"]
    let recomputed = tapes.memory.isEmpty ? [] : ["memory.recompute=automatic"]
    return held + recomputed + paged
      + others.filter { _, plan in
        var other = self
        other.boundaries = plan
        return other.activationBytes < activationBytes
      }.map(\.0)
  }

  /// What is kept of the activations between the two sweeps.
  var activationRule: BoundaryRule {
    var rule = boundaries.rule
    rule.tapes = tapes.inMemory
    return rule
  }

  private static func recompute(_ config: RunConfig) -> TapePlan.Recompute {
    guard let recompute = TapePlan.Recompute(rawValue: config.memory.recompute) else {
      preconditionFailure("validated")
    }
    return recompute
  }

  private static func precision(_ config: RunConfig) -> BoundaryRule.Precision {
    config.training.boundaries == "bf16" ? .bf16 : .fp32
  }

  /// Of training, boundary frames included.
  private var activationBytes: Int {
    activations.bytes + (boundaries.frames?.bytes ?? 0)
  }
  private var activations: MemoryLedger.Grant {
    .init(
      name: "activations",
      bytes: Transformer.byteCount(
        description, limits, training: true, boundaries: boundaries.rule, workers: threads))
  }

  /// What training needs beside page frames, by name; `data`: what the data needs.
  func fixedMemory(_ config: RunConfig, _ data: [MemoryLedger.Grant]) -> [MemoryLedger.Grant] {
    [
      .init(
        name: "program, runtime and libraries", bytes: MemoryPlan.runtimeBytes(threads: threads)),
      storeTables(config, isReadOnly: false),
    ] + data + [
      isDensePaged
        ? .init(
          name: "dense parameters and gradients, paged",
          bytes: DenseMap(description, dense).pagedBytes)
        : .init(
          name: "dense parameters, gradients and moments",
          bytes: DenseParameters.byteCount(
            count: dense.paddedCount, training: true, moments: dense.hasMoments)),
      activations,
    ] + [boundaries.frames].compactMap { $0 } + heldMemory + tapes.memory
  }

  private var gradientBytes: Int { experts.parametersPerBlock * MemoryLayout<Float>.size }
  private var heldMemory: [MemoryLedger.Grant] {
    let bytes = heldGradients * gradientBytes
    return bytes == 0
      ? [] : [.init(name: "gradients held for the next forward sweep", bytes: bytes)]
  }

  /// The most of a step's gradients that are held. Left to the plan: as much as there is of its arithmetic
  /// in the forward sweep, with little for the drives to do.
  static func heldShare(_ config: RunConfig) -> Double {
    config.memory.held_gradients == "automatic" ? 0.3 : 1
  }

  /// The same with as many gradients as `memory.held_gradients` says.
  /// - Parameter memory: the plan without them.
  func holdingGradients(_ config: RunConfig, _ memory: MemoryPlan) throws -> RunGeometry {
    guard !memory.isResident else { return self }
    let isAutomatic = config.memory.held_gradients == "automatic"
    let bytes =
      isAutomatic
      ? drivesHaveTime ? 0 : memory.spareBytesOfSlowDrive
      : try config.bytes(config.memory.held_gradients, key: "memory.held_gradients")
    var holding = self
    holding.heldGradients = min(
      Int(Double(description.expertBlocks) * Self.heldShare(config)),
      bytes / gradientBytes)
    return holding
  }

  /// What of the page pool may go to activations that are kept. Where the drive is what a step waits for,
  /// it waits itself while attention computes, when all frames are filled: half a layer's experts come first.
  func roomForTapes(_ memory: MemoryPlan) -> Int {
    guard !memory.isResident, !drivesHaveTime else { return memory.spareBytes }
    return min(
      memory.spareBytes, memory.bytes(beyond: experts.count * experts.slices / 2, record))
  }

  /// Threads of an import or an export: what they share out is the planes of a record.
  var exchangeThreads: Int { min(threads, Plane.allCases.count) }

  /// What a timeline has room for.
  var traceCapacity: TraceRecorder.Capacity {
    TraceRecorder.Capacity(
      blocks: blocks, layers: description.layers.count, workers: threads > 1 ? threads : 0)
  }

  var traceMemory: MemoryLedger.Grant {
    .init(name: "trace", bytes: traceCapacity.byteCount + TraceDrawing.bufferBytes)
  }

  /// Where the store says which record is where.
  func storeTables(_ config: RunConfig, isReadOnly: Bool) -> MemoryLedger.Grant {
    .init(
      name: "tables of the store",
      bytes: Store.tableBytes(
        blocks: blocks, keep: config.checkpoint.keep, isReadOnly: isReadOnly))
  }

  /// Names the run in its store: a digest of everything that decides what is computed. The store of
  /// a published model is named by the model and its precision alone: what it is trained on is
  /// decided later.
  /// - Parameter corpus: the checksum of the corpus.
  static func identity(_ config: RunConfig, corpus: String) throws -> String {
    if let model = try config.publishedModel() {
      let bytes = try config.bytes(config.storage.block_bytes, key: "storage.block_bytes")
      let digest = StableHash.combine(model.digest, UInt64(bytes))
      let training = config.training
      let format = [training.states, training.master, training.optim]
      return "\(model.family.rawValue)-" + String(digest, radix: 16)
        + (format == ["fp32", "fp32", "adamw"] ? "" : "-\(training.states)-\(training.master)")
        + (training.optim == "adamw" ? "" : "-\(training.optim)")
    }
    let digest = StableHash.of(config.identity(corpus: corpus))
    return "\(config.model.family)-" + String(digest, radix: 16)
  }
}

extension RecordFormat {
  init(_ config: RunConfig, _ experts: ExpertShape) {
    guard let states = StatePrecision(rawValue: config.training.states),
      let master = MasterPrecision(rawValue: config.training.master)
    else { preconditionFailure("validated") }
    let isFactored = config.training.optim == OptimizerChoice.adafactor.rawValue
    self.init(
      states: states, master: master,
      factors: isFactored ? experts.factored.reduce(0) { $0 + $1.factorCount } : nil)
  }
}

package import Base
package import DirectIO
import Kernels
import Layers
import Models
import Optimizers
package import Paging
package import PinnedMemory
package import Storage
import Tracing

/// A run held open: corpus, disk, store, model and pager, and the step that ties them together.
///
/// Opening grants all memory by name first, so that a budget too small is refused before anything
/// exists; then it opens or makes the store, and takes the state of its last generation.
package struct TrainingSession: ~Copyable {
  package let config: RunConfig
  package let plan: MemoryPlan
  package let ledger: MemoryLedger
  package let store: Store
  /// Things to tell the user once: threads instead of io_uring, buffered files, unlocked memory.
  package let notes: [String]
  package let hasResumed: Bool
  let geometry: RunGeometry
  let data: TrainingData
  /// Of the newest state in memory.
  package private(set) var progress: RunProgress
  var step: TrainingStep
  private let pin: ThreadPin?
  private let trace: StepTrace?
  /// What freezes since the last step have taken.
  private var pauseSeconds: Double

  package enum Beginning: Sendable {
    /// Makes the store where there is none.
    case either
    /// The store must be there.
    case existing
    /// It must hold a generation, too.
    case resume
  }

  /// - Parameters:
  ///   - disk: what the store is on; opened as the configuration says when nil.
  ///   - trace: the steps that a timeline is drawn of, and where to.
  /// - Throws: `ConfigError`, `CorpusError`, `InterchangeError`, `TokenizerError`, `MemoryRefusal`,
  ///   `StorageError`, `TrainingError`.
  package init(
    _ config: RunConfig, storePaths: [String], beginning: Beginning = .either,
    profiles: DriveProfiles = .ofUser, disk givenDisk: (any Disk)? = nil,
    trace: TraceRequest? = nil
  ) throws {
    self = try Self.usingDrivesIfPossible(config) { failure in
      try TrainingSession(
        config, storePaths: storePaths, beginning: beginning, profiles: profiles,
        disk: givenDisk, trace: trace, withoutTapeFile: failure)
    }
  }

  /// Opens once more, and says why, where the drives have no room for tapes that need not be there.
  private static func usingDrivesIfPossible(
    _ config: RunConfig, _ open: (_ tapeFailure: DiskError?) throws -> TrainingSession
  ) throws -> TrainingSession {
    do {
      return try open(nil)
    } catch StorageError.scratch(let failure, avoidedBy: TapePlan.withoutFile)
      where config.memory.recompute == "automatic" && failure.isLackOfSpace
    {
      return try open(failure)
    }
  }

  /// - Parameter tapeFailure: why tapes cannot be on the drives.
  private init(
    _ config: RunConfig, storePaths: [String], beginning: Beginning, profiles: DriveProfiles,
    disk givenDisk: (any Disk)?, trace: TraceRequest?, withoutTapeFile tapeFailure: DiskError?
  ) throws {
    let facts = try DataFacts(config)
    let (geometry, plan) = try Self.plan(
      config, facts, isTraced: trace != nil, mayUseDrives: tapeFailure == nil)
    let ledger = MemoryLedger(ceiling: plan.ceiling)
    for grant in plan.fixed { try ledger.grant(grant.name, bytes: grant.bytes) }

    let data = try TrainingData(config)
    let drives = try DriveSettings(config, paths: storePaths, profiles: profiles)
    // Threads start where their maker may run: pinned first, the disk's stay beside its memory.
    let nodes = NodeUse(config)
    let pin = nodes.pinCaller()
    let (disk, note) = givenDisk.map { ($0, nil) } ?? openDisk(drives.disk)
    let store = try config.openStore(
      StoreConfiguration(
        paths: storePaths, bandwidths: drives.bandwidths,
        identity: RunGeometry.identity(config, corpus: facts.checksum),
        geometry: geometry.record, blocks: geometry.blocks, keep: config.checkpoint.keep),
      disk: disk, create: beginning == .either)
    if beginning == .resume && store.generation == nil {
      throw TrainingError.nothingToResume(path: storePaths[0])
    }
    let workers = Workers(count: geometry.threads, groups: nodes.workerGroups)
    var pager = try Pager(
      store: store, frames: plan.frames,
      sharing: nodes.sharing(plan, geometry.record, workers), ledger: ledger)
    pager.computeChecksums(on: workers)
    let scratches = try Self.openScratches(geometry, &pager)
    let parameters = DenseParameters(
      geometry.description.layout, count: geometry.dense.paddedCount, training: true,
      moments: !geometry.isDensePaged && geometry.dense.hasMoments)
    var dense = DenseResidency(
      parameters, geometry.description, geometry.dense, isPaged: geometry.isDensePaged)
    var progress = try Self.restore(
      store, &dense, &pager, seed: UInt64(config.seed), on: workers)
    try progress.belong(to: config, facts, path: storePaths[0])
    let otherProducts = progress.multiply(with: ProductLibrary.best.description)

    self.config = config
    self.plan = plan
    self.ledger = ledger
    self.store = store
    self.geometry = geometry
    self.progress = progress
    self.pin = pin
    pauseSeconds = 0
    hasResumed = store.generation != nil
    let isFromSeed =
      store.generation == nil && PublishedFamily(rawValue: config.model.family) != nil
    let start =
      isFromSeed ? "nothing was imported: all weights of the model start from the seed" : nil
    let lack = tapeFailure.map { "activations do not wait on the drives of the store: \($0)" }
    notes =
      [
        start, otherProducts, note, Self.bufferedNote(store), geometry.boundaries.note, lack,
        geometry.tapes.note,
      ].compactMap { $0 }
      + pager.notes + data.notes + vectorsNotes()
    self.data = data
    self.trace = trace.map {
      StepTrace($0, geometry.traceCapacity, next: progress.step + 1, disk)
    }
    let timeline = Trace(self.trace?.recorder)
    pager.trace = timeline
    workers.record(with: timeline)
    step = TrainingStep(
      pager: pager,
      model: Transformer(
        geometry.description, dense: parameters, limits: geometry.limits,
        smoothing: Float(config.training.label_smoothing_factor), training: true,
        boundaries: geometry.activationRule, workers: workers),
      optimizer: Optimizer(config), schedule: LearningRateSchedule(config),
      options: StepOptions(config), dense: dense, unsaved: UnsavedDense(geometry.dense),
      scratches: scratches,
      held: geometry.heldGradients == 0
        ? nil
        : HeldGradients(
          count: geometry.heldGradients, parameters: geometry.experts.parametersPerBlock,
          share: RunGeometry.heldShare(config)))
  }

  /// Their memory was granted, as every fixed need.
  private static func openScratches(
    _ geometry: RunGeometry, _ pager: inout Pager
  ) throws -> ActivationScratches {
    var scratches = ActivationScratches()
    if let size = geometry.boundaries.scratch {
      scratches.boundaries = try pager.openScratch(
        "boundary frames", size, avoidedBy: BoundaryPlan.withoutFile,
        ledger: MemoryLedger(ceiling: size.memoryBytes))
    }
    if let size = geometry.tapes.scratch {
      let scratch = try pager.openScratch(
        "frames of kept activations", size, avoidedBy: TapePlan.withoutFile,
        ledger: MemoryLedger(ceiling: size.memoryBytes))
      scratches.tapes = TapeLeaves(geometry.description, geometry.tapes.onDisk, in: scratch)
    }
    return scratches
  }

  /// The sizes of a run and how its memory is shared out; opens nothing.
  /// - Throws: `ConfigError`, `CorpusError`, `MemoryRefusal`, `TrainingError`, `NoProductLibrary`.
  static func plan(
    _ config: RunConfig, isTraced: Bool = false
  ) throws -> (geometry: RunGeometry, memory: MemoryPlan) {
    try plan(config, try DataFacts(config), isTraced: isTraced, mayUseDrives: true)
  }

  private static func plan(
    _ config: RunConfig, _ facts: DataFacts, isTraced: Bool, mayUseDrives: Bool
  ) throws -> (geometry: RunGeometry, memory: MemoryPlan) {
    try ProductLibrary.requireOne()
    let geometry = try RunGeometry(config, corpus: facts.corpus)
    var refusal: MemoryRefusal?
    for alternative in geometry.alternatives(config) {
      do {
        let memory = try memory(of: alternative, config, facts, isTraced: isTraced)
        let holding = try alternative.holdingGradients(config, memory)
        return try keepingActivations(
          holding, try Self.memory(of: holding, config, facts, isTraced: isTraced), config, facts,
          isTraced: isTraced, mayUseDrives: mayUseDrives)
      } catch let error as MemoryRefusal {
        if error.missing < refusal?.missing ?? .max { refusal = error }
      }
    }
    guard let refusal else { preconditionFailure("a run can be run in one way at least") }
    throw refusal
  }

  /// Gives what paging can spare to activations, where the configuration leaves it to the plan.
  private static func keepingActivations(
    _ geometry: RunGeometry, _ memory: MemoryPlan, _ config: RunConfig, _ facts: DataFacts,
    isTraced: Bool, mayUseDrives: Bool
  ) throws -> (geometry: RunGeometry, memory: MemoryPlan) {
    guard [.automatic, .spill].contains(geometry.tapes.recompute) else {
      return (geometry, memory)
    }
    var keeping = geometry
    keeping.tapes.fill(geometry.roomForTapes(memory))
    let isOver = keeping.tapes.inMemory.count < geometry.description.layers.count
    if geometry.tapes.recompute == .automatic, isOver, mayUseDrives, geometry.drivesHaveTime {
      var withDrives = geometry
      withDrives.tapes.usesDrives = true
      // Its frames take some of what can be spared; where they do not fit, or drive out blocks of
      // which all would stay in memory, it stays as it was.
      if let rest = try? Self.memory(of: withDrives, config, facts, isTraced: isTraced),
        rest.isResident == memory.isResident
      {
        withDrives.tapes.fill(rest.spareBytes)
        keeping = withDrives
      }
    }
    return (keeping, try Self.memory(of: keeping, config, facts, isTraced: isTraced))
  }

  /// - Throws: `ConfigError`; `MemoryRefusal` that says what would save memory.
  private static func memory(
    of geometry: RunGeometry, _ config: RunConfig, _ facts: DataFacts, isTraced: Bool
  ) throws -> MemoryPlan {
    let ceiling = try config.bytes(config.memory.budget, key: "memory.budget")
    let trace = isTraced ? [geometry.traceMemory] : []
    do throws(MemoryRefusal) {
      return try MemoryPlan(
        ceiling: ceiling, fixed: geometry.fixedMemory(config, facts.memory) + trace,
        geometry: geometry.record, blocks: geometry.blocks,
        updated: geometry.experts.count * geometry.experts.slices,
        resident: config.memory.resident)
    } catch {
      var refusal = error
      refusal.savings = geometry.savings(config)
      throw refusal
    }
  }

  /// Fills `dense` from the last generation, or from the seed when there is none.
  private static func restore(
    _ store: Store, _ dense: inout DenseResidency, _ pager: inout Pager, seed: UInt64,
    on workers: Workers
  ) throws -> RunProgress {
    guard let generation = store.generation else {
      try dense.initialise(seed: seed, &pager, on: workers)
      return RunProgress()
    }
    try dense.load(&pager, on: workers)
    return try RunProgress(payload: generation.payload)
  }

  private static func bufferedNote(_ store: Store) -> String? {
    store.isDirect
      ? nil
      : "the store's file system refuses O_DIRECT: training works through the page cache, which "
        + "is memory beyond --memory; its speed is not the disk's"
  }
}

// MARK: Training

extension TrainingSession {
  package var nextStep: Int { progress.step + 1 }

  /// Runs the next step. A frozen generation becomes durable beside it. After an error the session is over.
  /// - Parameter mayHold: whether some updates may be left to the forward sweep after it; false where a
  ///   freeze or an evaluation follows, which would have to make them first.
  package mutating func runStep(mayHold: Bool = true) throws -> StepMetrics {
    let number = nextStep
    let batch = batch(step: number)
    trace?.begin(step: number)
    defer { trace?.end(step: number, inFlight: step.pager.tracedTransfersInFlight) }
    var metrics = try step.run(step: number, batch, mayHold: mayHold)
    metrics.peak_rss_bytes = ProcessMemory.peakResidentBytes
    metrics.memory_budget_bytes = plan.ceiling
    metrics.commit_pause_s = pauseSeconds
    pauseSeconds = 0
    progress.add(metrics)
    progress.account(step.pager.counters)
    return metrics
  }

  /// Waits for what the last step has left in flight.
  /// - Returns: the seconds that this took.
  package mutating func drain() throws -> Double {
    let start = nanoseconds()
    try step.pager.drain()
    return elapsedSeconds(from: start, to: nanoseconds())
  }

  /// Makes the state after the last step a generation of the store: frozen now, and made durable
  /// while the next step runs. Waits for an earlier one that is still on its way.
  /// - Parameter companions: syncs of other files that must be durable before the generation is.
  /// - Returns: false when the last generation has that state already.
  @discardableResult
  package mutating func freeze(
    _ companions: [@Sendable () throws(StorageError) -> Void] = []
  ) throws -> Bool {
    let start = nanoseconds()
    defer { trace?.noteBetween(.commitFreeze, since: start) }
    try finishCommit()
    try step.updateHeld()
    guard progress.step > store.generation?.step ?? -1 else { return false }
    let late = step.dense.lateBlocks
    progress.account(
      step.pager.counters, unwritten: late.count * geometry.record.recordBytes)
    try step.pager.freeze(
      step: progress.step, payload: try progress.payload(), late: late, companions: companions)
    if !late.isEmpty { step.unsaved.freeze(step: progress.step) }
    pauseSeconds += elapsedSeconds(from: start, to: nanoseconds())
    return true
  }

  /// Waits until the generation that was frozen last is durable.
  package mutating func finishCommit() throws {
    try step.unsaved.saveRest(step.model.dense, &step.pager)
    try step.pager.finishCommit()
    progress.account(step.pager.counters)
  }

  /// Makes the state after the last step a generation, and waits for that.
  package mutating func commit() throws {
    try freeze()
    try finishCommit()
  }

  /// The generation that has become durable since the last call; nil when none has.
  package mutating func takeDurable() -> DurableGeneration? { step.pager.takeDurable() }
  /// Called again and again while somebody who reads older generations keeps this run waiting for
  /// slots; what it throws ends the step.
  package var whileReaderWaits: () throws(StorageError) -> Void {
    get { step.pager.whileReaderWaits }
    set { step.pager.whileReaderWaits = newValue }
  }

  /// Whether anything is held out.
  package var canEvaluate: Bool { !data.evaluation.isEmpty }

  /// The held-out loss of the state in memory.
  package mutating func evaluate() throws -> EvaluationReport {
    let start = nanoseconds()
    defer { trace?.noteBetween(.evaluation, since: start) }
    try step.updateHeld()
    let report = try step.evaluate(data.evaluation, step: progress.step)
    progress.account(step.pager.counters)
    return report
  }

  /// Ends the timeline, if there is one: no further step of it will be made.
  package func finishTrace() { trace?.finish() }
  /// What there is to say of the timeline since the last call.
  package func takeTraceNote() -> String? { trace?.takeNote() }

  /// Where the pages of the pools are now, by region.
  package var poolPlaces: [RegionPlace] { step.pager.places }
  package var unigramEntropy: Double { data.evaluation.unigramEntropy }
  package var unigramLossByTask: [String: Double] { data.evaluation.unigramLossByTask }
  package var expertStateBytes: Int {
    geometry.description.expertBlocks * geometry.record.recordBytes
  }
  /// Of an expert in the store, without padding.
  package var bytesPerParameter: Double { geometry.record.bytesPerParameter }
  package var expertParameters: Int {
    geometry.description.expertBlocks * geometry.experts.parametersPerBlock
  }
  /// Blocks that an expert is.
  package var slicesPerExpert: Int { geometry.experts.slices }
  package var denseParameters: Int { geometry.description.layout.count }
  /// Blocks of the dense part that every step brings in and writes; none where all of it is in memory.
  package var pagedDenseBlocks: Int { geometry.isDensePaged ? geometry.dense.count : 0 }
  /// Layers that keep their activations for the backward sweep, of all.
  package var keptLayersShare: Double {
    let kept = geometry.tapes.inMemory.count + geometry.tapes.onDisk.count
    return Double(kept) / Double(geometry.description.layers.count)
  }
}

import Base
import Corpus
import Kernels
import Models
import Optimizers
import Paging
import Storage

/// What a run's last committed generation is worth: its loss on what is held out, and its
/// translations of held-out sentences. Changes nothing, beside a training that goes on.
// Names are the keys of the JSON.
// swift-format-ignore: AlwaysUseLowerCamelCase
package struct RunEvaluation: Codable, Sendable {
  package let run: String
  package let step: Int
  /// nil where nothing is held out.
  package let heldout: EvaluationReport?
  package let unigram_entropy: Double
  package let unigram_loss_by_task: [String: Double]
  /// nil when none were asked for, or there is nothing to translate.
  package let translations: RunSummary.Translations?
  package let seconds: Double
  package let peak_rss_bytes: Int
  package let memory_budget_bytes: Int

  /// - Parameters:
  ///   - memory: the ceiling of this process.
  ///   - sentences: to translate, of all directions together; 0: none.
  /// - Throws: `TrainingError.nothingToResume`; `TrainingError.stopped` when `isStopping` says so
  ///   between two groups of sentences; `MemoryRefusal`, `StorageError`, `CorpusError`.
  package init(
    _ run: RunDirectory, _ config: RunConfig, memory: Int, sentences: Int,
    _ settings: TextGenerator.Settings, isStopping: () -> Bool
  ) throws {
    let start = ContinuousClock.now
    // Refused before the loss is computed.
    if sentences > 0 { try TextGenerator.requireMemory(config, memory: memory, settings) }
    let loss = try HeldOutLoss(run, config, memory: memory)
    (step, heldout) = (loss.step, loss.report)
    (unigram_entropy, unigram_loss_by_task) = (loss.unigramEntropy, loss.unigramLossByTask)
    if sentences > 0 {
      let all = try RunSummary.Translations(
        config, run, memory: memory, count: sentences, settings, isStopping: isStopping)
      translations = all.directions.isEmpty ? nil : all
    } else {
      translations = nil
    }
    self.run = run.path
    seconds = (ContinuousClock.now - start).seconds
    peak_rss_bytes = ProcessMemory.peakResidentBytes
    memory_budget_bytes = memory
  }
}

/// The held-out loss of the last committed generation: a forward sweep without memory for another.
struct HeldOutLoss {
  let step: Int
  let report: EvaluationReport?
  let unigramEntropy: Double
  let unigramLossByTask: [String: Double]

  /// - Parameter observe: shown the model after each sweep, and the micro-batches that it read.
  init(
    _ run: RunDirectory, _ config: RunConfig, memory: Int,
    observe: (EvaluationSet, Transformer, ArraySlice<MicroBatch>) -> Void = { _, _, _ in }
  ) throws {
    try ProductLibrary.requireOne()
    let facts = try DataFacts(config)
    let geometry = try RunGeometry(config, corpus: facts.corpus)
    let plan = try MemoryPlan(
      ceiling: memory, fixed: Self.fixedMemory(config, geometry, facts), geometry: geometry.record,
      blocks: geometry.blocks, resident: false)
    let ledger = MemoryLedger(ceiling: memory)
    for grant in plan.fixed { try ledger.grant(grant.name, bytes: grant.bytes) }
    let data = try TrainingData(config).evaluation
    let store = try config.storedRun(in: run)
    guard let generation = store.generation else {
      throw TrainingError.nothingToResume(path: run.path)
    }
    step = generation.step
    (unigramEntropy, unigramLossByTask) = (data.unigramEntropy, data.unigramLossByTask)
    guard !data.isEmpty else {
      report = nil
      return
    }
    let workers = Workers(count: geometry.threads)
    var pager = try Pager(store: store, frames: plan.frames, ledger: ledger)
    pager.computeChecksums(on: workers)
    let dense = DenseParameters(
      geometry.description.layout, count: geometry.dense.paddedCount, training: false)
    try geometry.dense.load(dense, &pager, on: workers)
    var sweep = TrainingStep(
      pager: pager,
      model: Transformer(
        geometry.description, dense: dense, limits: geometry.limits, smoothing: 0, training: false,
        workers: workers),
      optimizer: Optimizer(config), schedule: LearningRateSchedule(config),
      options: StepOptions(config),
      dense: DenseResidency(dense, geometry.description, geometry.dense, isPaged: false),
      unsaved: UnsavedDense(geometry.dense))
    report = try sweep.evaluate(data, step: generation.step) { observe(data, $0, $1) }
  }

  private static func fixedMemory(
    _ config: RunConfig, _ geometry: RunGeometry, _ facts: DataFacts
  ) -> [MemoryLedger.Grant] {
    [
      .init(
        name: "program, runtime and libraries",
        bytes: MemoryPlan.runtimeBytes(threads: geometry.threads)),
      geometry.storeTables(config, isReadOnly: true),
    ] + facts.memory + [
      .init(
        name: "dense parameters",
        bytes: DenseParameters.byteCount(count: geometry.dense.paddedCount, training: false)),
      .init(
        name: "activations",
        bytes: Transformer.byteCount(
          geometry.description, geometry.limits, training: false, workers: geometry.threads)),
    ]
  }
}

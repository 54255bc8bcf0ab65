package import Base
import Kernels
package import Models
import Paging
import PinnedMemory
package import Storage

/// How a generation fits under a memory ceiling: as many sequences at once as there is room for.
/// What is generated does not depend on their number; the last bits of scores may.
package struct GenerationPlan: Sendable {
  package let limits: GenerationLimits
  package let memory: MemoryPlan

  /// - Parameters:
  ///   - wanted: with the most sequences at once.
  ///   - parameters: of the dense part, filled up to blocks.
  ///   - others: what is in memory beside the generator.
  /// - Throws: `MemoryRefusal` naming the allocation that does not fit even for one sequence.
  package init(
    ceiling: Int, _ wanted: GenerationLimits, _ model: ModelDescription, record: RecordGeometry,
    threads: Int, others: [MemoryLedger.Grant]
  ) throws(MemoryRefusal) {
    let dense = DenseBlocks(record: record, layout: model.layout)
    var limits = wanted
    while true {
      do throws(MemoryRefusal) {
        memory = try MemoryPlan(
          ceiling: ceiling, fixed: others + limits.memory(model, dense, threads: threads),
          geometry: record, blocks: model.expertBlocks + dense.count, resident: false)
        self.limits = limits
        return
      } catch {
        guard limits.sequences > 1 else { throw error }
        limits.sequences = (limits.sequences + 1) / 2
      }
    }
  }
}

extension GenerationLimits {
  /// What a generator needs beside page frames, by name.
  fileprivate func memory(
    _ model: ModelDescription, _ dense: DenseBlocks, threads: Int
  ) -> [MemoryLedger.Grant] {
    [
      .init(
        name: "dense parameters",
        bytes: DenseParameters.byteCount(count: dense.paddedCount, training: false)),
      .init(
        name: "activations",
        bytes: Transformer.byteCount(model, batch(model), training: false, workers: threads)),
      .init(name: "keys and values", bytes: DecodingCache.byteCount(model, cache(model))),
    ]
  }
}

extension Generator {
  /// The last committed generation of `store`, in memory that `ledger` has granted as `plan` says.
  /// - Throws: `NoProductLibrary`, `StorageError`, `MemoryError`; `TrainingError.damagedState`.
  init(
    _ model: ModelDescription, store: Store, _ plan: GenerationPlan, workers: Workers,
    sharing: FrameSharing = .anywhere, ledger: MemoryLedger, options: StepOptions
  ) throws {
    try ProductLibrary.requireOne()
    var pager = try Pager(
      store: store, frames: plan.memory.frames, sharing: sharing, ledger: ledger)
    pager.computeChecksums(on: workers)
    let blocks = DenseBlocks(record: store.geometry, layout: model.layout)
    let dense = DenseParameters(model.layout, count: blocks.paddedCount, training: false)
    try blocks.load(dense, &pager, on: workers)
    self.init(
      pager: pager,
      model: Transformer(
        model, dense: dense, limits: plan.limits.batch(model), smoothing: 0, training: false,
        workers: workers),
      options: options, limits: plan.limits)
  }
}

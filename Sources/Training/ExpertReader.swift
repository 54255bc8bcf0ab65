package import Base
package import Kernels
import Models
import Paging
package import Storage

/// Reads weights of experts of a run's last generation, on a disk of its own.
package struct ExpertReader: ~Copyable {
  private var pager: Pager
  private let experts: ExpertShape
  private let seed: UInt64
  private let workers: Workers
  package let generation: Generation?

  /// - Throws: `StorageError`, `CorpusError`, `ConfigError`.
  package init(_ directory: RunDirectory, _ config: RunConfig) throws {
    let geometry = try RunGeometry(config, corpus: DataFacts(config).corpus)
    let workers = Workers(count: geometry.exchangeThreads)
    let store = try config.storedRun(in: directory)
    var pager = try Pager(
      store: store, frames: FrameBudget(weights: 4, state: 4),
      ledger: MemoryLedger(ceiling: .max))
    pager.computeChecksums(on: workers)
    self.pager = pager
    self.workers = workers
    generation = store.generation
    experts = geometry.experts
    seed = UInt64(config.seed)
  }

  /// Weights of a block; of one that was never written what the seed gives.
  package mutating func readWeights(_ block: BlockID, into floats: FloatBuffer) throws {
    pager.plan([Visit(block, [.hi, .lo])])
    var page = try pager.next()
    page.initialiseIfVirgin(experts, seed: seed)
    page.read(.weights, into: floats, on: workers)
    pager.keep(page)
  }
}

package import Base
package import Models
import Storage

/// What a run takes whatever its budget is, found without opening anything: for those who choose
/// budgets.
package struct RunNeeds: Sendable {
  package let experts: ExpertShape
  package let states: StatePrecision
  package let master: MasterPrecision
  /// Of second moments that are factored: how many a block has.
  package let factors: Int?
  /// Of one block of the store.
  package let recordBytes: Int
  /// Weights and moments of all experts.
  package let stateBytes: Int
  /// Everything but page frames, by name.
  package let fixed: [MemoryLedger.Grant]
  package let threads: Int

  package var fixedBytes: Int { fixed.reduce(0) { $0 + $1.bytes } }
  /// Frames that paging cannot do without.
  package var leastPoolBytes: Int { MemoryPlan.leastFrames * recordBytes }

  /// - Throws: `ConfigError`, `CorpusError`, `InterchangeError`, `TrainingError`.
  package init(_ config: RunConfig) throws {
    let facts = try DataFacts(config)
    let geometry = try RunGeometry(config, corpus: facts.corpus)
    experts = geometry.experts
    (states, master) = (geometry.record.format.states, geometry.record.format.master)
    factors = geometry.record.format.factors
    recordBytes = geometry.record.recordBytes
    stateBytes = geometry.description.expertBlocks * recordBytes
    fixed = geometry.fixedMemory(config, facts.memory)
    threads = geometry.threads
  }
}

package import Base
import DirectIO
package import Kernels
import Models
import Optimizers
import Paging
package import Storage

/// A new store while it is filled with the weights of a model, and with their moments where there are
/// any: no corpus, no activations, one block in memory beside the frames, be it of an expert or of the
/// dense part.
///
/// Every block is written once, so the store has a slot for each and no more: until the first training
/// makes its files longer, there is room beside it for what it is filled from.
package struct StoreFilling: ~Copyable {
  /// One block as floats, and as many more.
  let block: FloatBuffer
  let scratch: FloatBuffer
  private let geometry: RunGeometry
  private let store: Store
  private var pager: Pager
  private var written = 0

  /// - Parameters:
  ///   - given: the disk to use; nil: one of its own.
  ///   - others: what is in memory beside it.
  /// - Throws: `MemoryRefusal` naming the allocation that does not fit; `StorageError`;
  ///   `ExchangeError.occupiedStore`.
  init(
    _ config: RunConfig, _ geometry: RunGeometry, identity: String, storePaths: [String],
    profiles: DriveProfiles, disk given: (any Disk)? = nil, others: [MemoryLedger.Grant] = []
  ) throws {
    let plan = try Self.plan(config, geometry, others: others)
    let ledger = MemoryLedger(ceiling: plan.ceiling)
    for grant in plan.fixed { try ledger.grant(grant.name, bytes: grant.bytes) }
    let drives = try DriveSettings(config, paths: storePaths, profiles: profiles)
    let store = try Store.open(
      StoreConfiguration(
        paths: storePaths, bandwidths: drives.bandwidths, identity: identity,
        geometry: geometry.record, blocks: geometry.blocks, keep: config.checkpoint.keep,
        isWrittenOnce: true),
      disk: given ?? openDisk(drives.disk).disk, create: true)
    guard store.generation == nil else { throw ExchangeError.occupiedStore(path: storePaths[0]) }
    var pager = try Pager(store: store, frames: plan.frames, ledger: ledger)
    pager.computeChecksums(on: Workers(count: geometry.exchangeThreads))
    self.geometry = geometry
    self.store = store
    self.pager = pager
    block = FloatBuffer(count: geometry.experts.parametersPerBlock)
    scratch = FloatBuffer(count: geometry.experts.parametersPerBlock)
  }

  /// Heap that the names, places and shapes of an expert's tensors take, twice: of the model and of
  /// the files.
  private static let tableBytesPerExpert = 3072

  /// What filling needs.
  static func plan(
    _ config: RunConfig, _ geometry: RunGeometry, others: [MemoryLedger.Grant] = []
  ) throws -> MemoryPlan {
    let float = MemoryLayout<Float>.stride
    let experts = geometry.description.mixtures * geometry.experts.count
    return try MemoryPlan(
      ceiling: try config.bytes(config.memory.budget, key: "memory.budget"),
      fixed: [
        .init(
          name: "program, runtime and libraries",
          bytes: MemoryPlan.runtimeBytes(threads: geometry.exchangeThreads)),
        geometry.storeTables(config, isReadOnly: false),
        .init(
          name: "tables of tensors",
          bytes: (experts + geometry.description.layout.slots.count) * tableBytesPerExpert),
        .init(name: "two blocks", bytes: 2 * geometry.experts.parametersPerBlock * float),
      ] + others,
      geometry: geometry.record, blocks: geometry.blocks, resident: false)
  }

  /// Takes over records of other stores, before anything else is written.
  /// - Parameter progress: told of bytes.
  package func adopt(
    _ adoptions: [Store.Adoption], progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws {
    precondition(written == 0, "the disk is idle")
    try store.adopt(adoptions, progress: progress)
  }

  /// What it keeps of each dense parameter. Factored second moments lie behind the weights.
  package var denseStates: [ParameterState] { geometry.dense.states }

  /// Blocks that the dense part is.
  package var denseBlocks: [BlockID] { geometry.dense.blocks }

  /// Writes the block `id`; `fill` fills each state of it into `block`. States that are not filled
  /// are zero.
  package mutating func write(
    _ id: BlockID, _ states: [ParameterState], history: BlockHistory,
    _ fill: (ParameterState, FloatBuffer) throws -> Void
  ) throws {
    var page = try pager.blank(id)
    page.clearMoments()
    for state in states {
      try fill(state, block)
      page.set(state, to: block)
    }
    pager.writeBack(page, history: history)
    written += 1
  }

  /// Writes block number `block` of the dense part, as of `step`; `fill` fills the floats of each state
  /// that have the given range of the vector of dense parameters. States that are not filled are zero.
  package mutating func write(
    dense block: Int, _ states: [ParameterState], step: Int,
    _ fill: (ParameterState, Range<Int>, FloatBuffer) throws -> Void
  ) throws {
    var page = try pager.blank(.dense(block))
    geometry.dense.clear(&page)
    let floats = self.block.matrix(rows: 1, columns: geometry.dense.parametersPerBlock)
    for state in states {
      // What the last block is filled up with.
      floats.fill(0)
      try fill(state, geometry.dense.range(block), self.block)
      geometry.dense.set(state, of: &page, to: floats)
    }
    pager.writeBack(page, step: step, tokens: 0)
    written += 1
  }

  /// Makes what was written the first generation of the store, at `progress`.
  mutating func commit(_ progress: RunProgress) throws {
    var progress = progress
    // Some of it may be on its way.
    let bytes = written * geometry.record.recordBytes
    progress.account(pager.counters, unwritten: bytes - pager.counters.bytesWritten)
    try pager.commit(step: progress.step, payload: try progress.payload())
  }
}

extension Page {
  /// Overwrites the planes of one state with `floats`, rounded to the nearest where the store keeps
  /// less: weights as files of models are rounded. What was read out of such planes fits them.
  mutating func set(_ state: ParameterState, to floats: FloatBuffer) {
    let source = floats.matrix(rows: 1, columns: floats.count)
    let format = geometry.format
    var spans = spans
    switch (state, format.master) {
    case (.weights, .fp32): splitMaster(source, hi: &spans.hi, lo: &spans.lo)
    case (.weights, .bf16): roundToBfloat16(source, into: &spans.hi)
    case (.firstMoment, _): format.states.encode(.first, source, into: &spans.m)
    case (.secondMoment, _): format.states.encode(.second, source, into: &spans.v)
    }
  }

  /// The planes of one state as floats.
  func read(_ state: ParameterState, into floats: FloatBuffer, on workers: Workers) {
    let target = floats.matrix(rows: 1, columns: floats.count)
    switch state {
    case .weights: widen(into: SpacedFloats(target), precision: .fp32, on: workers)
    case .firstMoment: geometry.format.states.decode(.first, m, into: target)
    case .secondMoment: geometry.format.states.decode(.second, v, into: target)
    }
  }

  mutating func clearMoments() {
    var spans = spans
    spans.m.update(repeating: 0)
    spans.v.update(repeating: 0)
  }
}

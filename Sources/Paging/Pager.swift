package import Base
import DirectIO
package import PinnedMemory
package import Storage
package import Tracing

/// Decides which blocks are resident, and has the next ones there in time.
///
/// The owner says what it will visit, in order, and then takes exactly those pages. Reads start as
/// soon as frames allow; pages that come back changed are written at once, unless everything fits.
/// One thread owns the pager and drives it: transfers and commits advance in `pump` and `next`.
/// What it will probably visit after that may be read ahead, too (`anticipating`).
///
///     plan --> claimed, reading --> next: a page is out --> keep ------> idle, cached --> evicted
///                   ^                                   \-> writeBack -> writing ----^
///                   +---------------- claimed again --------------------------/
package struct Pager: ~Copyable {
  let store: Store
  /// Everything fits: nothing is written before a commit, nothing is ever evicted.
  package let isResident: Bool
  package internal(set) var counters = PagerCounters()
  /// Where transfers and waits are noted while the owner wants to see them.
  package var trace = Trace.off

  var weights: FrameShelf
  var state: FrameShelf
  var residents: [BlockID: Resident] = [:]
  let dropped = DroppedPages()
  /// Residents that the next freeze has written.
  var dirty: [Resident] = []
  /// The generation that is being made durable beside the visits.
  var closing: ClosingGeneration?
  /// Generations frozen so far.
  var freezes = 0
  var durable: DurableGeneration?
  /// Runs `body` for every index below `count`, side by side where the owner has threads for it. Called
  /// on the owner's thread, in whatever method of the pager it is in.
  package var forEach: (_ count: Int, _ body: @Sendable (_ index: Int) -> Void) -> Void = {
    for index in 0..<$0 { $1(index) }
  }
  /// Takes work that is not wanted yet, for threads of the owner that wait; whatever they leave is done
  /// when it is wanted.
  package var offer: (SpareWork) -> Void = { _ in }
  /// Called again and again while a reader of older generations has every slot that could be
  /// written; what it throws ends the wait and the visits.
  package var whileReaderWaits: () throws(StorageError) -> Void = {}

  /// Visits to come. The first `admitted` ones have their frames and reads.
  var visits = Queue<PlannedVisit>()
  var admitted = 0
  /// The last so many visits will only probably come. None of them is ever handed out.
  var anticipated = 0
  /// The resident of the visit after those, when it has a claim but not yet all frames.
  var gathering: Resident?
  /// Visits to come that have no claim yet, by block.
  var unclaimedVisits: [BlockID: Int] = [:]
  /// False when an attempt to admit failed and nothing has changed since.
  var mayAdmit = true
  /// Whether the page that `next` is asked for was wanted as soon as it was planned.
  var isUnplanned = false

  var operations: [UInt64: Operation] = [:]
  var readsInFlight = 0
  var writesInFlight: Int { operations.count - readsInFlight }
  var bytesInFlight = BytesInFlight()
  /// Writes in flight of the open generation.
  var openWritesInFlight = 0
  var nextTag: UInt64 = 1
  /// Bytes of the step under way that are no records.
  var scratches: [Scratch] = []
  /// A write that failed or a lost update: nothing can be committed any more.
  var failure: StorageError?

  struct PlannedVisit {
    let visit: Visit
    var resident: Resident?
    /// What was read for it.
    var read: PlaneSet = []
    /// Wanted as soon as it was planned.
    var isUnplanned = false
  }

  struct Operation {
    let kind: Transfer.Kind
    let resident: Resident
    let first: Plane
    let last: Plane
    let isRepeated: Bool
    /// Of a read: its checksums are compared by the holder of the page.
    var isCheckedLater = false
    /// Of a write: the generation that its record belongs to, counted in freezes.
    var generation = 0
    /// When and where it was submitted, if that is traced.
    var traced: TracedTransfer?
  }

  /// - Parameter sharing: which memory nodes the frames are on. Weights choose first: they are read
  ///   in both sweeps, state in one.
  /// - Throws: `MemoryError` when the ledger refuses the pools or they are too small to page.
  package init(
    store: Store, frames: FrameBudget, sharing: FrameSharing = .anywhere, ledger: MemoryLedger
  ) throws(MemoryError) {
    try frames.requireMinimum(store.geometry)
    var sharing = sharing
    let (weightBytes, stateBytes) = (
      store.geometry.weightFrameBytes, store.geometry.stateFrameBytes
    )
    let weights = try FramePool(
      name: "weight frames",
      shares: sharing.share(frames: frames.weights, frameBytes: weightBytes),
      frameBytes: weightBytes, ledger: ledger)
    let state = try FramePool(
      name: "state frames", shares: sharing.share(frames: frames.state, frameBytes: stateBytes),
      frameBytes: stateBytes, ledger: ledger)
    for memory in weights.memory + state.memory { store.disk.register(memory) }
    self.store = store
    self.weights = FrameShelf(kind: .weights, pool: weights)
    self.state = FrameShelf(kind: .state, pool: state)
    let blocks = store.description.blocks
    isResident = frames.weights >= blocks && frames.state >= blocks
  }

  /// The kernel must be done with the frames before they are unmapped.
  deinit {
    _ = try? store.finishCommit(wait: true)
    for _ in 0..<transfersInFlight { _ = store.disk.nextCompletion(wait: true) }
    for scratch in scratches { scratch.cancelSums() }
    for pool in pools { for memory in pool.memory { store.disk.unregister(memory) } }
  }

  /// What to tell the user of the pools: that they are not locked, once for all of them, and pages
  /// that are not on the node they were meant for.
  package var notes: [String] {
    let lock = PageLock.all(
      pools.flatMap(\.locks), wantedBytes: pools.reduce(0) { $0 + $1.byteCount })
    return [lock.remedy].compactMap { $0 } + pools.flatMap(\.placementNotes)
  }
  /// Where the pages of the pools are now, by region.
  package var places: [RegionPlace] { pools.flatMap(\.places) }
  private var pools: [FramePool] { [weights.pool, state.pool] + scratches.map(\.pool) }
  /// Visits planned and not yet taken.
  package var plannedCount: Int { visits.count - anticipated }
}

// MARK: Visiting

extension Pager {
  /// Appends to the list of visits to come and starts reading for them as far as frames allow.
  /// - Parameters:
  ///   - isUrgent: the first of them is wanted now: nobody could plan it earlier, and waiting for it
  ///     is counted as `unplannedStallSeconds`.
  ///   - likely: what will probably be planned after them, instead of what was thought so before;
  ///     nil: that still holds.
  package mutating func plan(
    _ new: [Visit], isUrgent: Bool = false, anticipating likely: [Visit]? = nil
  ) {
    let before = withdrawAnticipated()
    for (index, visit) in new.enumerated() { append(visit, isUnplanned: isUrgent && index == 0) }
    anticipate(likely ?? before)
    for visit in before { dismiss(visit.block) }
    mayAdmit = true
    pump()
  }

  mutating func append(_ visit: Visit, isUnplanned: Bool) {
    visits.append(PlannedVisit(visit: visit.of(store.geometry), isUnplanned: isUnplanned))
    unclaimedVisits[visit.block, default: 0] += 1
    // Idle frames of the block are no longer the first to be evicted.
    if let resident = residents[visit.block] { settle(resident) }
  }

  /// The page of the next planned visit. Waits only when the disk is late.
  ///
  /// Its virgin planes are to be filled by the holder. There must be room for it: the holder may
  /// keep so many pages at a time as leave a frame of each kind free.
  /// - Throws: a read of this page that failed, which ends this visit alone, or an earlier write
  ///   that failed, which ends everything.
  package mutating func next() throws(StorageError) -> Page {
    precondition(plannedCount > 0, "only planned visits are handed out")
    let block = visits[0].visit.block
    isUnplanned = visits[0].isUnplanned
    defer { isUnplanned = false }
    pump()
    while true {
      if let failure { throw failure }
      if admitted > 0 {
        if let page = try firstPage() { return page }
        let isRead = visits[0].resident?.reading.isEmpty == false
        waitForCompletion(for: isRead ? .read : .write, of: block)
      } else {
        // For a frame: of a page on its way out, or of one that was anticipated in vain.
        waitForCompletion(for: writesInFlight > 0 ? .write : .read, of: block)
      }
      admit()
    }
  }

  /// Takes a page back unchanged. Virgin planes that its holder has filled count as filled as long
  /// as they stay in memory; on disk they remain virgin.
  package mutating func keep(_ page: consuming Page) {
    precondition(!page.resident.isBlank, "a blank page is written back")
    let resident = page.resident
    resident.isHeld = false
    resident.valid.formUnion(page.virgin)
    settle(resident)
    pump()
  }

  /// Takes a page back after an optimizer update; all its planes are valid. The write starts at
  /// once, or after the next freeze when everything fits in memory.
  /// - Parameters:
  ///   - step: the step of the update.
  ///   - tokens: tokens routed to the block in it, added to its sum.
  package mutating func writeBack(_ page: consuming Page, step: Int, tokens: Int) {
    writeSoon(takeBack(page, step: step, tokens: tokens))
  }

  /// The same with a history that comes from elsewhere.
  package mutating func writeBack(_ page: consuming Page, history: BlockHistory) {
    let resident = takeBack(page, step: 0, tokens: 0)
    resident.history = history
    writeSoon(resident)
  }

  private mutating func writeSoon(_ resident: Resident) {
    if !isResident {
      startWrite(resident, isLate: false)
    } else if !resident.isDirty {
      resident.isDirty = true
      dirty.append(resident)
    }
    settle(resident)
    pump()
  }

  /// What `writeBack` does for one of the late blocks of the frozen generation.
  package mutating func writeBackLate(_ page: consuming Page, step: Int) {
    let resident = takeBack(page, step: step, tokens: 0)
    precondition(closing?.late.remove(resident.block) != nil, "an announced block is written late")
    startWrite(resident, isLate: true)
    settle(resident)
    pump()
  }

  private func takeBack(_ page: consuming Page, step: Int, tokens: Int) -> Resident {
    precondition(page.planes == store.geometry.planes, "an update holds all planes")
    let resident = page.resident
    precondition(resident.unchecked.isEmpty, "nothing is made of bytes that were not checked")
    (resident.isHeld, resident.isBlank) = (false, false)
    resident.valid = page.planes
    resident.history.lastStep = step
    resident.history.updates += 1
    resident.history.tokens += tokens
    return resident
  }

  /// A page to be overwritten completely and written back; nothing is read for it. Planned visits
  /// give up frames for it, last ones first, and read again later.
  package mutating func blank(_ block: BlockID) throws(StorageError) -> Page {
    pump()
    let (resident, planes) = (resident(of: block), store.geometry.planes)
    precondition(!resident.isHeld, "a block has one holder")
    resident.claim()
    while true {
      if let failure {
        resident.claims -= 1
        settle(resident)
        throw failure
      }
      if !provideFrames(resident, planes, orPlanned: true) {
        if !revokeLastClaim() { waitForCompletion(for: .write, of: block) }
      } else if resident.isFrozen {
        writeFrozen(resident)
      } else if !resident.inTransfer.isEmpty {
        waitForCompletion(for: resident.reading.isEmpty ? .write : .read, of: block)
      } else {
        break
      }
    }
    resident.claims -= 1
    resident.failure = nil
    countUnused(resident, planes)
    resident.valid = []
    return Page(
      resident: resident, visit: Visit(block, planes), virgin: planes,
      isWrittenSoon: !isResident, isBlank: true)
  }

  /// Drops all visits to come and waits for the reads that were started for them.
  package mutating func forgetPlan() {
    pump()
    for visit in withdrawAnticipated() { dismiss(visit.block) }
    while revokeLastClaim() {}
    visits.removeAll()
    unclaimedVisits = [:]
    while readsInFlight > 0 { waitForCompletion(for: .read) }
    for resident in weights.takePlanned() + state.takePlanned() { settle(resident) }
    mayAdmit = true
  }

  /// Reaps finished transfers, starts further reads and advances the commit under way; cheap when
  /// there is nothing to do.
  package mutating func pump() {
    collectDropped()
    while transfersInFlight > 0, let completion = store.disk.nextCompletion(wait: false) {
      finish(completion)
    }
    advanceCommit()
    admit()
    // All that was submitted since the last call goes to the kernel together.
    store.disk.start()
  }
}

import Base
import DirectIO
import Paging
import PinnedMemory
import Simulation
import Storage
import Testing
import Tracing

@Suite struct PagerTests {
  let world: World
  let six = blocks(6)
  private let hiBytes = World.geometry.weightFrameBytes
  private let recordBytes = World.geometry.recordBytes

  init() throws { world = try World() }

  /// Pages come in the order of the plan, repetitions included, with the planes asked for.
  @Test func pagesComeInTheOrderOfThePlan() throws {
    var pager = try World.pager(world.open(), 3, 2)
    let plan =
      visits(six, .hi) + visits([six[5], six[5]], .all) + [Visit(six[0], [.hi, .lo])]
      + visits([six[3]], .state)
    pager.plan(Array(plan[..<4]))
    pager.plan(Array(plan[4...]))
    for visit in plan {
      let page = try pager.next()
      #expect(page.block == visit.block && page.planes == visit.planes)
      pager.keep(page)
    }
    #expect(pager.plannedCount == 0 && pager.counters.visits == plan.count)
  }

  /// Checksums of the planes of a transfer are left to the owner's threads, in any order.
  @Test func checksumsOfATransferAreComputedSideBySide() throws {
    final class Counts { var byTransfer: [Int] = [] }
    let counts = Counts()
    // Pieces of a plane: 40, 40, 80 and 80, of which a task takes 16.
    let world = try World(parameters: 8192 * 40)
    var pager = try World.pager(world.open(), 2, 2)
    pager.forEach = { count, body in
      counts.byTransfer.append(count)
      for index in (0..<count).reversed() { body(index) }
    }
    pager.plan(visits(six, .all))
    for _ in six { try pager.updateNext(step: 1, from: 0) }
    #expect(counts.byTransfer == Array(repeating: 15, count: 6))
    pager.plan(visits(Array(six[..<4]), .all))
    for _ in 0..<4 { try pager.readNext(version: 1) }
    // hi, and beside it lo, m and v.
    #expect(counts.byTransfer[6...].sorted() == [3, 3, 3, 3, 13, 13, 13, 13])
  }

  /// What nobody has written is virgin until filled, stays filled while resident and becomes virgin
  /// again when evicted; an update makes it real.
  @Test func virginPlanesAreFilledByTheHolder() throws {
    var pager = try World.pager(world.open(), 2, 2)
    pager.plan([Visit(six[0], .hi), Visit(six[0], .all)])
    var page = try pager.next()
    #expect(page.virgin == .hi && page.changeable == .hi && page.updates == 0)
    page.fill(.hi, version: 0)
    pager.keep(page)
    page = try pager.next()
    #expect(page.virgin == .state && page.changeable == .all)
    page.fill(.state, version: 0)
    #expect(page.wrongPlanes(version: 0).isEmpty)
    pager.keep(page)
    // Three others push it out of two frames.
    pager.plan(visits(Array(six[1...3]), .all) + [Visit(six[0], .all)])
    for _ in 1...3 { try pager.readNext(version: 0) }
    page = try pager.next()
    #expect(page.virgin == .all)
    page.fill(.all, version: 1)
    pager.writeBack(page, step: 4, tokens: 9)
    pager.plan(visits(Array(six[1...3]), .all) + [Visit(six[0], .all)])
    for _ in 1...3 { try pager.readNext(version: 0) }
    page = try pager.next()
    #expect(page.virgin.isEmpty && page.wrongPlanes(version: 1).isEmpty)
    #expect(page.updates == 1 && page.lastStep == 4 && page.tokens == 9)
    pager.keep(page)
  }

  /// Waits are booked by their cause, and those for pages that were wanted as soon as they were
  /// planned once more; a timeline has each of them, and every byte.
  @Test func waitsAreBookedAndTraced() throws {
    var pager = try World.pager(world.open(LateDisk(SimulatedDisk(world.medium, seed: 1))), 2, 2)
    pager.plan(visits(six, .all))
    for _ in six { try pager.updateNext(step: 1, from: 0) }
    #expect(pager.counters.slotStallSeconds == 0)
    try pager.commit(step: 1, payload: [])
    #expect(pager.counters.slotStallSeconds > 0)

    let recorder = TraceRecorder(.init(blocks: 6, layers: 1, workers: 0))
    pager.trace = Trace(recorder)
    recorder.isRecording = true
    let before = pager.counters
    pager.plan(visits([six[0], six[1]], .hi), isUrgent: true)
    try pager.readNext(version: 1)
    let urgent = pager.counters.since(before)
    #expect(urgent.unplannedStallSeconds > 0)
    #expect(urgent.unplannedStallSeconds == urgent.stallSeconds)
    try pager.readNext(version: 1)
    pager.plan(visits([six[2], six[3]], .all))
    for _ in 2...3 { try pager.updateNext(step: 2, from: 1) }
    try pager.commit(step: 2, payload: [])
    let all = pager.counters.since(before)
    #expect(all.unplannedStallSeconds == urgent.unplannedStallSeconds)

    var (stalls, routerStalls) = (0.0, 0.0)
    recorder.training.drain {
      let seconds = elapsedSeconds(from: $0.start, to: $0.end)
      if $0.name == .routerStall { routerStalls += seconds } else { stalls += seconds }
    }
    #expect(abs(routerStalls - all.unplannedStallSeconds) < 1e-8)
    #expect(abs(routerStalls + stalls - all.stallSeconds) < 1e-8)
    var (read, written) = (0, 0)
    recorder.transfers.drain {
      if $0.name == .read { read += Int($0.amount) } else { written += Int($0.amount) }
    }
    #expect(read == all.bytesRead && written == all.bytesWritten && written == 2 * recordBytes)
    #expect(pager.tracedTransfersInFlight == 0)
  }

  /// Three steps in the steady state: a forward sweep over six blocks, then a backward sweep over
  /// the same blocks in reverse, and a commit.
  private func threeSteps(_ store: Store, weights: Int, state: Int) throws -> PagerCounters {
    var pager = try World.pager(store, weights, state)
    func step(_ number: Int) throws {
      pager.plan(visits(six, .hi))
      for _ in six { try pager.readNext(version: number) }
      pager.plan(visits(six.reversed(), .all))
      for _ in six { try pager.updateNext(step: number, from: number) }
      try pager.commit(step: number, payload: [])
    }
    for number in 0..<4 { try step(number) }
    let before = pager.counters
    let diskBefore = store.disk.counters
    for number in 4..<7 { try step(number) }
    let counters = pager.counters.since(before)
    #expect(counters.visits == 36 && counters.pagesWritten == 18)
    #expect(counters.bytesWritten == 18 * recordBytes)
    #expect(store.disk.counters.bytesRead - diskBefore.bytesRead == counters.bytesRead)
    #expect(store.disk.counters.bytesWritten - diskBefore.bytesWritten == counters.bytesWritten)
    return counters
  }

  /// Each sweep starts where the one before it ended, so it finds `weights` blocks' hi planes and
  /// reads the others; state is read for every update. To the byte.
  @Test(arguments: [2, 3, 4, 5])
  func weightsAreReusedAtEveryTurn(weights: Int) throws {
    let counters = try threeSteps(world.open(), weights: weights, state: 2)
    let perStep = 2 * (6 - weights) * hiBytes + 6 * World.geometry.stateFrameBytes
    #expect(counters.bytesRead == 3 * perStep)
    #expect(counters.hits == 3 * weights, "forward visits; backward ones read state")
  }

  /// State is used once a step in the same order: the best there is keeps all frames but the one
  /// that turns over. Up to three turn over here: one read, one computed on, one written.
  @Test(arguments: [3, 4, 5])
  func stateFramesPinWhatTheyHold(state: Int) throws {
    let counters = try threeSteps(world.open(), weights: 6, state: state)
    let reads = counters.bytesRead / World.geometry.stateFrameBytes
    #expect((3 * (6 - (state - 1))...3 * (6 - (state - 3))).contains(reads))
    #expect(counters.bytesRead == reads * World.geometry.stateFrameBytes)
  }

  /// With frames for all, a page is read and written once whatever the number of steps.
  @Test func residentBlocksAreWrittenOnlyByTheCommit() throws {
    var pager = try World.pager(world.open(), 6, 6)
    #expect(pager.isResident == true)
    for step in 0..<5 {
      pager.plan(visits(six, .hi) + visits(six.reversed(), .all))
      for _ in six { try pager.readNext(version: step) }
      for _ in six { try pager.updateNext(step: step, from: step) }
    }
    #expect(pager.counters.bytesWritten == 0 && pager.counters.bytesRead == 0)
    try pager.commit(step: 5, payload: [1])
    #expect(pager.counters.bytesWritten == 6 * recordBytes && pager.counters.pagesWritten == 6)
    pager.plan(visits(six, .all))
    for _ in six { try pager.readNext(version: 5) }
    // All but the first step's visits, whose planes were virgin.
    #expect(pager.counters.hits == 4 * 12 + 6)
    try pager.commit(step: 6, payload: [])
    #expect(pager.counters.pagesWritten == 6)
  }

  /// A blank page displaces prefetched ones, is not read, and is what later visits see.
  @Test func blankPagesAreOverwritten() throws {
    var pager = try World.pager(world.open(), 2, 2)
    pager.plan(visits(six, .all))
    for _ in six { try pager.updateNext(step: 1, from: 0) }
    try pager.commit(step: 1, payload: [])
    pager.plan(visits(six, .all))
    var page = try pager.blank(six[1])
    #expect(page.virgin == .all && page.updates == 1)
    page.fill(.all, version: 2)
    pager.writeBack(page, step: 2, tokens: 0)
    for index in six.indices { try pager.readNext(version: index == 1 ? 2 : 1) }
  }

  @Test func aForgottenPlanLeavesNothingBehind() throws {
    let store = try world.open()
    var pager = try World.pager(store, 3, 3)
    pager.plan(visits(six, .all))
    for _ in six { try pager.updateNext(step: 1, from: 0) }
    pager.plan(visits(six, .all))
    try pager.readNext(version: 1)
    pager.forgetPlan()
    #expect(pager.plannedCount == 0)
    pager.plan(visits(six.reversed(), .all))
    for _ in six { try pager.readNext(version: 1) }
  }

  /// The frames of a page that its holder drops come back; what it changed does not, and nothing
  /// can be committed any more.
  @Test func droppedPagesAreNotCommitted() throws {
    var pager = try World.pager(world.open(), 2, 2)
    pager.plan(visits([six[0], six[1], six[2], six[3]], .hi))
    for _ in 0..<4 {
      let page = try pager.next()
      _ = consume page
    }
    try pager.commit(step: 0, payload: [])
    pager.plan(visits([six[0]], .all))
    var page = try pager.next()
    page.fill(.all, version: 9)
    _ = consume page
    let error = #expect(throws: StorageError.self) { try pager.commit(step: 1, payload: []) }
    guard case .abandoned(six[0]) = error else {
      Issue.record("abandoned, not \(String(describing: error))")
      return
    }
  }

  @Test func tooFewFramesAreRefused() throws {
    let store = try world.open()
    for (weights, state) in [(1, 4), (4, 1), (0, 0)] {
      let error = #expect(throws: MemoryError.self) {
        let pager = try World.pager(store, weights, state)
        #expect(pager.plannedCount == 0)
      }
      #expect(error.map { "\($0)".contains("--memory") } == true)
    }
    #expect(throws: MemoryError.self) {
      let pager = try Pager(
        store: store, frames: FrameBudget(weights: 2, state: 2),
        ledger: MemoryLedger(
          ceiling: FrameBudget(weights: 2, state: 2).byteCount(World.geometry) - 1))
      #expect(pager.plannedCount == 0)
    }
  }
}

import Base
import DirectIO
import Paging
import Simulation
import Storage
import Testing

/// Reads ahead of visits that will probably come: what comes, what does not, and what nobody thought
/// of.
@Suite struct AnticipationTests {
  let world: World
  let six = blocks(6)
  private let hiBytes = World.geometry.weightFrameBytes

  init() throws { world = try World() }

  /// A pager over six blocks that are on the disk as of version 1, and none in memory.
  private func pager(_ disk: any Disk, _ weights: Int, _ state: Int = 2) throws -> Pager {
    let store = try world.open(disk)
    if store.writtenBlocks.isEmpty {
      var writer = try World.pager(store, 3, 3)
      writer.plan(visits(six, .all))
      for _ in six { try writer.updateNext(step: 1, from: 0) }
      try writer.commit(step: 1, payload: [])
    }
    return try World.pager(store, weights, state)
  }

  private func lateDisk() -> LateDisk { LateDisk(SimulatedDisk(world.medium, seed: 3)) }

  private func take(_ blocks: [BlockID], _ pager: inout Pager) throws {
    for block in blocks {
      let page = try pager.next()
      #expect(page.block == block && page.wrongPlanes(version: 1).isEmpty)
      pager.keep(page)
    }
  }

  /// Takes visits of the others, so that every transfer has ended after it.
  private func endTransfers(_ pager: inout Pager) { pager.forgetPlan() }

  /// One read each, started before anybody planned the visit; that is no hit.
  @Test func whatComesIsThere() throws {
    let disk = lateDisk()
    var pager = try pager(disk, 5)
    let before = disk.reads.count
    pager.plan([], anticipating: visits([six[0], six[1]], .hi))
    let reads = disk.reads[before...]
    #expect(reads.map(\.priority) == [.prefetch, .prefetch])
    #expect(pager.plannedCount == 0)
    pager.plan(visits([six[0], six[1]], .hi), isUrgent: true, anticipating: [])
    #expect(disk.reads.count == before + 2)
    try take([six[0], six[1]], &pager)
    #expect(disk.reads.count == before + 2)
    #expect(pager.counters.visits == 2 && pager.counters.hits == 0)
    #expect(pager.counters.bytesRead == 2 * hiBytes)
    #expect(pager.counters.anticipatedUnusedBytes == 0)
    // The next visits find what those have left.
    pager.plan(visits([six[0], six[1]], .hi))
    try take([six[0], six[1]], &pager)
    #expect(pager.counters.hits == 2)
  }

  /// What is in memory anyway is kept there, and a visit to it is a hit.
  @Test func whatIsThereStays() throws {
    var pager = try pager(lateDisk(), 4)
    pager.plan(visits([six[0], six[1]], .hi))
    try take([six[0], six[1]], &pager)
    pager.plan(visits([six[2], six[3], six[4], six[5]], .hi), anticipating: visits([six[0]], .hi))
    try take([six[2], six[3], six[4], six[5]], &pager)
    pager.plan(visits([six[0]], .hi), anticipating: [])
    try take([six[0]], &pager)
    #expect(pager.counters.hits == 1 && pager.counters.anticipatedUnusedBytes == 0)
    #expect(pager.counters.bytesRead == 6 * hiBytes)
  }

  /// It is counted, is the first to make room, and is there if somebody comes before that.
  @Test(arguments: [false, true])
  func whatDoesNotComeMakesRoom(isInFlight: Bool) throws {
    let disk = lateDisk()
    var pager = try pager(disk, 4)
    pager.plan([], anticipating: visits([six[0], six[1]], .hi))
    if !isInFlight {
      disk.isLate = false
      for _ in 0..<20 { pager.pump() }
      #expect(pager.counters.bytesRead == 2 * hiBytes)
    }
    pager.plan(visits([six[2]], .hi), isUrgent: true, anticipating: [])
    #expect(disk.reads.last?.priority == .demand)
    try take([six[2]], &pager)
    endTransfers(&pager)
    #expect(pager.counters.anticipatedUnusedBytes == 2 * hiBytes)
    #expect(pager.counters.bytesRead == 3 * hiBytes)
    // One frame is free; the other visit takes that of a block that did not come.
    pager.plan(visits([six[3], six[4], six[2]], .hi))
    try take([six[3], six[4], six[2]], &pager)
    #expect(pager.counters.hits == 1)
    pager.plan(visits([six[0], six[1]], .hi))
    try take([six[0], six[1]], &pager)
    #expect(pager.counters.hits == 2, "one was read in vain, and found by the next sweep")
    #expect(pager.counters.anticipatedUnusedBytes == 2 * hiBytes)
  }

  /// Frames stay for visits that nobody thought of; with the fewest none is left for a guess.
  @Test(arguments: [(2, 0), (3, 1), (4, 2), (5, 3)])
  func someFramesAreLeft(weights: Int, ahead: Int) throws {
    let disk = lateDisk()
    var pager = try pager(disk, weights)
    let before = disk.reads.count
    pager.plan([], anticipating: visits(Array(six[..<4]), .hi))
    #expect(disk.reads.count == before + ahead)
    // A visit to another block waits for none of them.
    pager.plan(visits([six[5]], .hi), isUrgent: true)
    #expect(disk.reads.count == before + ahead + 1)
    #expect(disk.reads.last?.priority == .demand)
    try take([six[5]], &pager)
    pager.plan(visits(six, .hi), anticipating: [])
    try take(six, &pager)
  }

  /// State frames are counted, too, where a visit needs them.
  @Test func framesOfStateAreLeft() throws {
    let disk = lateDisk()
    var pager = try pager(disk, 6, 3)
    let before = disk.reads.count
    pager.plan([], anticipating: visits(six, [.hi, .lo]))
    #expect(disk.reads.count == before + 2, "hi and lo of one block")
  }

  /// Planned visits come first, keep their frames, and are read once.
  @Test func plannedVisitsComeFirst() throws {
    let disk = lateDisk()
    var pager = try pager(disk, 4)
    let before = disk.reads.count
    pager.plan(visits(Array(six[..<3]), .hi), anticipating: visits(Array(six[3...]), .hi))
    #expect(disk.reads.count == before + 4, "the fourth frame was nobody's")
    // A layer without experts between the two.
    pager.plan(visits([six[0]], .hi))
    try take([six[0], six[1], six[2], six[0]], &pager)
    #expect(pager.plannedCount == 0)
    pager.plan(visits(Array(six[3...]), .hi), isUrgent: true, anticipating: [])
    try take(Array(six[3...]), &pager)
    #expect(disk.reads.count == before + 6)
    #expect(pager.counters.bytesRead == 6 * hiBytes && pager.counters.hits == 1)
  }

  /// What was never written is not looked for.
  @Test func virginBlocksAreLeftAlone() throws {
    let store = try world.open()
    var pager = try World.pager(store, 4, 4)
    pager.plan([Visit(six[5], .hi)], anticipating: visits(Array(six[..<4]), .hi))
    var page = try pager.next()
    page.fill(page.virgin, version: 0)
    pager.keep(page)
    pager.plan(visits([six[0]], .hi), anticipating: [])
    try pager.readNext(version: 0)
    #expect(pager.counters.bytesRead == 0 && pager.counters.virginVisits == 2)
  }

  /// Steps in the steady state, two layers of three blocks: the same bytes and hits as without
  /// anticipation, to the byte. It evicts only what the sweep itself would have evicted next.
  @Test(arguments: [2, 3, 4, 5], [false, true])
  func aPalindromeReadsNoMore(weights: Int, isAnticipating: Bool) throws {
    var pager = try pager(SimulatedDisk(world.medium, seed: 9), weights)
    var before = PagerCounters()
    for number in 1...6 {
      if number == 4 { before = pager.counters }
      let layers = [Array(six[..<3]), Array(six[3...])].map { visits($0, .hi) }
      pager.plan([], anticipating: isAnticipating ? layers[0] : [])
      for (index, layer) in layers.enumerated() {
        pager.plan(
          layer, isUrgent: true, anticipating: isAnticipating ? (layers + [[]])[index + 1] : [])
        for _ in layer { try pager.readNext(version: number) }
      }
      pager.plan(visits(six.reversed(), .all))
      for _ in six { try pager.updateNext(step: number + 1, from: number) }
      try pager.commit(step: number + 1, payload: [])
    }
    let counters = pager.counters.since(before)
    let perStep = 2 * (6 - weights) * hiBytes + 6 * World.geometry.stateFrameBytes
    #expect(counters.bytesRead == 3 * perStep)
    #expect(counters.hits == 3 * weights && counters.anticipatedUnusedBytes == 0)
  }

  // MARK: Failures

  /// Nobody has asked for the block: a run that does not visit it goes on, and commits.
  @Test func aFailureOfWhatDoesNotComeIsForgotten() throws {
    let disk = lateDisk()
    var pager = try pager(disk, 4)
    pager.plan(visits([six[5]], .all))
    try pager.updateNext(step: 2, from: 1)
    try pager.freeze(step: 2, payload: [])
    disk.failsReads = true
    pager.plan([], anticipating: visits([six[0], six[1]], .hi))
    disk.failsReads = false
    pager.plan(visits([six[2]], .hi), anticipating: [])
    try take([six[2]], &pager)
    endTransfers(&pager)
    try pager.finishCommit()
    #expect(pager.takeDurable()?.step == 2)
    #expect(pager.counters.anticipatedUnusedBytes == 0)
    pager.plan(visits([six[0]], .hi))
    try take([six[0]], &pager)
  }

  /// A record that no generation has yet, and that could not be read: whether a visit comes for it or
  /// not, it is not made durable in place of the last whole one.
  @Test func aRecordThatIsLostBeforeItsCommitIsNotForgotten() throws {
    #expect(throws: StorageError.self) { try loseAnUncommittedRecord() }
    #expect(try world.open().generation?.step == 1)
  }

  private func loseAnUncommittedRecord() throws {
    let disk = lateDisk()
    var pager = try pager(disk, 3)
    let others = Array(six[..<5])
    for visited in [others, [six[5]], others, others] {
      pager.plan(visits(visited, visited.count == 1 ? .all : .hi))
      if visited.count == 1 {
        try pager.updateNext(step: 2, from: 1)
      } else {
        try take(visited, &pager)
      }
    }
    let before = disk.reads.count
    disk.failsReads = true
    pager.plan([], anticipating: visits([six[5]], .hi))
    disk.failsReads = false
    #expect(disk.reads.count == before + 1, "it is on the disk alone")
    pager.plan(visits([six[0]], .hi), anticipating: [])
    try take([six[0]], &pager)
    endTransfers(&pager)
    try pager.commit(step: 2, payload: [])
  }

  /// A visit that comes reads again, and ends only when that fails, too.
  @Test(arguments: [false, true])
  func aVisitReadsAgainWhatCouldNotBeHad(failsAgain: Bool) throws {
    let disk = lateDisk()
    var pager = try pager(disk, 4)
    let before = disk.reads.count
    disk.failsReads = true
    pager.plan([], anticipating: visits([six[0]], .hi))
    disk.failsReads = failsAgain
    pager.plan(visits([six[0], six[1]], .hi), anticipating: [])
    guard failsAgain else {
      try take([six[0], six[1]], &pager)
      #expect(disk.reads.count == before + 3)
      #expect(pager.counters.bytesRead == 2 * hiBytes && pager.counters.hits == 0)
      return
    }
    let error = #expect(throws: StorageError.self) { try take([six[0]], &pager) }
    guard case .unreadable(six[0], .hi, .hi, _, _) = error else {
      Issue.record("unreadable, not \(String(describing: error))")
      return
    }
  }

  /// Every read gives wrong bytes once, in turn: they are read again, and none is used.
  @Test func wrongBytesAreNeverUsed() throws {
    _ = try pager(SimulatedDisk(world.medium, seed: 1), 4)
    var repeated = 0
    for number in 1...12 {
      let disk = SimulatedDisk(
        world.medium, seed: UInt64(number), faults: [.bitFlip(read: number)])
      var pager = try pager(disk, 4)
      pager.plan([], anticipating: visits(Array(six[..<2]), .hi))
      pager.plan(visits(Array(six[1..<4]), .hi), anticipating: visits(Array(six[4...]), .hi))
      try take(Array(six[1..<4]), &pager)
      pager.plan(visits(Array(six[3...]), .hi), anticipating: [])
      try take(Array(six[3...]), &pager)
      repeated += pager.counters.repeatedReads
    }
    #expect(repeated >= 5)
  }

  /// What a commit has yet to write is in memory: it is not read, and the generation is whole.
  @Test func aCommitUnderWayIsLeftAlone() throws {
    try commitBesideGuesses()
    let store = try world.open()
    var reader = try World.pager(store, 3, 3)
    reader.plan(visits(six, .all))
    for version in [2, 2, 3, 1, 2, 2] { try reader.readNext(version: version) }
  }

  private func commitBesideGuesses() throws {
    let disk = lateDisk()
    var pager = try pager(disk, 4, 4)
    pager.plan(visits(Array(six[..<3]), .all))
    for _ in 0..<3 { try pager.updateNext(step: 2, from: 1) }
    try pager.freeze(step: 2, payload: [], late: [six[5]])
    let before = disk.reads.count
    pager.plan([], anticipating: visits([six[2], six[1], six[3]], .hi))
    #expect(disk.reads.count == before, "two are there, and frames are left for others")
    // A page to be overwritten takes precedence over guesses.
    var page = try pager.blank(six[5])
    page.fill(.all, version: 2)
    pager.writeBackLate(page, step: 2)
    pager.plan(visits([six[2], six[4]], .all), anticipating: [])
    try pager.updateNext(step: 3, from: 2)
    try pager.updateNext(step: 3, from: 1)
    try pager.finishCommit()
    #expect(pager.takeDurable()?.step == 2)
    try pager.commit(step: 3, payload: [])
  }

  /// The plan is gone, and with it what was thought to come.
  @Test func aForgottenPlanHasNoGuesses() throws {
    var pager = try pager(lateDisk(), 4)
    pager.plan(visits([six[0]], .hi), anticipating: visits([six[1], six[2]], .hi))
    pager.forgetPlan()
    #expect(pager.plannedCount == 0)
    #expect(pager.counters.bytesRead == 3 * hiBytes)
    #expect(pager.counters.anticipatedUnusedBytes == 2 * hiBytes)
    pager.plan(visits(six, .hi))
    try take(six, &pager)
  }
}

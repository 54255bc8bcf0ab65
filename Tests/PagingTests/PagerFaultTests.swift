import Base
import DirectIO
import Glibc
import Paging
import PinnedMemory
import Simulation
import Storage
import Testing

@Suite struct PagerFaultTests {
  let six = blocks(6)

  /// Two steps with a commit each; returns the step of the last commit that succeeded.
  private func train(_ world: World, _ faults: [Fault], committed: inout Int) throws {
    let store = try world.open(faults: faults)
    var pager = try World.pager(store, 3, 3)
    for step in 1...3 {
      pager.plan(visits(six, .hi))
      for _ in six { try pager.readNext(version: step - 1) }
      pager.plan(visits(six.reversed(), .all))
      for _ in six { try pager.updateNext(step: step, from: step - 1) }
      try pager.commit(step: step, payload: [])
      committed = step
    }
  }

  /// What a new process finds: every block as the last commit left it.
  private func check(_ world: World, committed: Int) throws {
    let store = try world.open()
    #expect(store.generation?.step ?? 0 == committed)
    var pager = try World.pager(store, 3, 3)
    pager.plan(visits(six, .all))
    for _ in six { try pager.readNext(version: committed) }
  }

  /// Every call to the disk fails once, in turn: each time a clean error, and the last generation
  /// is whole after it. Ends with the first run that has fewer calls than that.
  @Test(arguments: [false, true])
  func everyCallCanFail(isPersistent: Bool) throws {
    for number in 1...400 {
      let world = try World()
      var committed = 0
      do {
        try train(
          world, [.call(number, errno: EIO, isPersistent: isPersistent)], committed: &committed)
      } catch is StorageError {
        try check(world, committed: committed)
        continue
      }
      #expect(committed == 3 && number > 50)
      try check(world, committed: committed)
      return
    }
    Issue.record("400 failures and no run without one")
  }

  /// A bit flipped on the way is read again; the medium is intact.
  @Test func flippedBitsAreReadAgain() throws {
    for read in 2...12 {
      let world = try World()
      var committed = 0
      try train(world, [.bitFlip(read: read)], committed: &committed)
      #expect(committed == 3)
    }
  }

  /// Writes that were acknowledged and never arrived are found when the record is read.
  @Test func lostWritesAreFound() throws {
    let world = try World()
    var committed = 0
    // The first write signs the data file.
    let error = #expect(throws: StorageError.self) {
      try train(world, [.lostWrite(write: 4)], committed: &committed)
      try check(world, committed: committed)
    }
    guard case .damaged = error else {
      Issue.record("damaged, not \(String(describing: error))")
      return
    }
  }

  /// Decay of the medium ends the visit with the plane's name; other visits go on.
  @Test(arguments: Plane.allCases)
  func decayNamesThePlane(plane: Plane) throws {
    let world = try World()
    var committed = 0
    try train(world, [], committed: &committed)
    let store = try world.open()
    let offset = store.place(of: six[2]).offset + World.geometry.offset(of: plane)
    world.medium.flipBit(of: world.directory.path + "/pages.bin", byte: offset + 9, bit: 1)
    var pager = try World.pager(store, 3, 3)
    pager.plan(visits(six, .all))
    for block in six {
      do throws(StorageError) {
        let page = try pager.next()
        #expect(page.block != six[2] && page.wrongPlanes(version: 3).isEmpty)
        pager.keep(page)
      } catch {
        guard case .damaged(let damage) = error else { throw error }
        #expect(block == six[2] && damage.block == block)
        #expect(damage.plane == plane && damage.offset == offset)
      }
    }
    #expect(pager.counters.visits == 5 && pager.counters.repeatedReads == 1)
  }
}

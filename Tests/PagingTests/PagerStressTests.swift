import Base
import DirectIO
import Kernels
import Paging
import PinnedMemory
import Simulation
import Storage
import Testing

/// Random plans over random budgets against a dictionary of what each block must contain.
@Suite struct PagerStressTests {
  /// Draws in order; the seed is the test's argument and so is printed with a failure.
  private struct Dice {
    let random: Philox
    var drawn: UInt32 = 0

    init(seed: UInt64) { random = Philox(seed: seed, purpose: .test) }

    mutating func below(_ bound: Int) -> Int {
      drawn += 1
      return random.below(bound, drawn, 0, 0)
    }
  }

  /// What training knows of a block: its version counts updates.
  private struct Expected: Equatable {
    var version = 0
    var lastStep = 0
    var tokens = 0
  }

  private struct Model {
    var open: [BlockID: Expected] = [:]
    var committed: [BlockID: Expected] = [:]
    var step = 0
  }

  @Test(arguments: 0..<60 as Range<UInt64>)
  func contentsAreAlwaysRightOnTheSimulatedDisk(seed: UInt64) throws {
    var dice = Dice(seed: seed)
    let small = RecordFormat(states: .int8, master: .bf16)
    let world = try World(blocks: 1 + dice.below(9), seed % 3 == 2 ? small : RecordFormat())
    var model = Model()
    for life in 0..<3 as Range<UInt64> {
      let disk = SimulatedDisk(
        world.medium, seed: seed << 8 | life, reapsLateMax: dice.below(12))
      try live(world, disk, &dice, &model, rounds: 12)
      // Power fails in the middle; only what was committed remains.
      disk.crash()
      model.open = model.committed
    }
  }

  @Test(arguments: [EnginePreference.automatic, .threads], 100..<104 as Range<UInt64>)
  func contentsAreAlwaysRightOnRealDisks(engine: EnginePreference, seed: UInt64) throws {
    var dice = Dice(seed: seed)
    let world = try World(blocks: 1 + dice.below(9))
    var model = Model()
    for _ in 0..<2 {
      let disk = openDisk(preferring: engine, queueDepth: 4, requestBytes: 4096).disk
      try live(world, disk, &dice, &model, rounds: 6)
      disk.close()
      model.open = model.committed
    }
  }

  /// Checksums are computed by threads while reads, also of guesses, come back with bits turned over, so
  /// far apart that the second read of a plane is right.
  @Test func turnedBitsAreFoundByWorkers() throws {
    let workers = Workers(count: 4)
    var repeated = 0
    for seed in 300..<312 as Range<UInt64> {
      var dice = Dice(seed: seed)
      let world = try World(blocks: 3 + dice.below(7))
      var model = Model()
      for life in 0..<2 as Range<UInt64> {
        let flips = (0..<8).map { Fault.bitFlip(read: 50 * $0 + 3 + dice.below(10)) }
        let disk = SimulatedDisk(
          world.medium, seed: seed << 8 | life, reapsLateMax: dice.below(12), faults: flips)
        repeated += try live(world, disk, &dice, &model, rounds: 12, on: workers).repeatedReads
        disk.crash()
        model.open = model.committed
      }
    }
    #expect(repeated > 20)
  }

  /// Some planes have decayed: visits that need them are refused by name, those to other blocks are not,
  /// and what was guessed of them in vain is forgotten.
  @Test func decayIsFoundByWorkers() throws {
    let workers = Workers(count: 4)
    for seed in 400..<412 as Range<UInt64> {
      var dice = Dice(seed: seed)
      let world = try World(blocks: 9)
      let decayed = try decay(world, &dice)
      let disk = SimulatedDisk(world.medium, seed: seed, reapsLateMax: dice.below(12))
      var pager = try World.pager(try world.open(disk), 2 + dice.below(5), 2 + dice.below(4))
      pager.forEach = { workers.forEach($0, $1) }
      for _ in 0..<20 {
        pager.plan([], anticipating: randomPlan(world.blocks, &dice))
        for _ in 0..<dice.below(4) { pager.pump() }
        let plan = randomPlan(world.blocks, &dice)
        pager.plan(plan, anticipating: randomGuess(world.blocks, &dice))
        for visit in plan { try look(visit, decayed[visit.block] ?? [], &pager) }
      }
    }
  }

  /// Blocks of version 1, in most of which a bit of one plane is turned over for good.
  private func decay(_ world: World, _ dice: inout Dice) throws -> [BlockID: PlaneSet] {
    let store = try world.open()
    var writer = try World.pager(store, 3, 3)
    writer.plan(visits(blocks(world.blocks), .all))
    for _ in 0..<world.blocks { try writer.updateNext(step: 1, from: 0) }
    try writer.commit(step: 1, payload: [])
    var decayed: [BlockID: PlaneSet] = [:]
    for block in blocks(world.blocks) where dice.below(3) > 0 {
      let plane = Plane.allCases[dice.below(4)]
      let byte =
        store.place(of: block).offset + world.geometry.offset(of: plane)
        + dice.below(world.geometry.contentBytes[plane])
      world.medium.flipBit(
        of: world.directory.path + "/pages.bin", byte: byte, bit: dice.below(8))
      decayed[block] = PlaneSet(plane)
    }
    return decayed
  }

  private func look(_ visit: Visit, _ decayed: PlaneSet, _ pager: inout Pager) throws {
    do throws(StorageError) {
      let page = try pager.next()
      #expect(page.block == visit.block && page.wrongPlanes(version: 1).isEmpty)
      #expect(visit.planes.isDisjoint(with: decayed))
      pager.keep(page)
    } catch {
      guard case .damaged(let damage) = error else { throw error }
      // Also a visit to other planes, when a later one has its reads under way already.
      #expect(damage.block == visit.block && PlaneSet(damage.plane) == decayed)
    }
  }

  /// One process: opens the store, trains at random, and ends without a word.
  @discardableResult
  private func live(
    _ world: World, _ disk: any Disk, _ dice: inout Dice, _ model: inout Model, rounds: Int,
    on workers: Workers = .inline
  ) throws -> PagerCounters {
    let store = try world.open(disk)
    let (weights, state) = (2 + dice.below(5), 2 + dice.below(4))
    var pager = try World.pager(store, weights, state)
    pager.forEach = { workers.forEach($0, $1) }
    for _ in 0..<rounds {
      let plan = randomPlan(world.blocks, &dice)
      if dice.below(3) == 0 {
        pager.plan([], anticipating: randomPlan(world.blocks, &dice))
        for _ in 0..<dice.below(4) { pager.pump() }
      }
      pager.plan(plan, anticipating: randomGuess(world.blocks, &dice))
      let taken = dice.below(4) == 0 ? dice.below(plan.count + 1) : plan.count
      for visit in plan[..<taken] {
        if dice.below(8) == 0 { pager.plan([], anticipating: randomGuess(world.blocks, &dice)) }
        if dice.below(8) == 0 { try overwrite(&pager, world.blocks, &dice, &model) }
        try take(visit, &pager, &dice, &model)
      }
      pager.forgetPlan()
      if dice.below(4) == 0 {
        model.step += 1
        try pager.commit(step: model.step, payload: [UInt8(truncatingIfNeeded: model.step)])
        model.committed = model.open
        #expect(store.generation?.step == model.step)
      }
    }
    return pager.counters
  }

  private func randomPlan(_ blockCount: Int, _ dice: inout Dice) -> [Visit] {
    (0..<1 + dice.below(12)).map { _ in
      let planes: PlaneSet = [.hi, .hi, [.hi, .lo], .all, .all, .state][dice.below(6)]
      return Visit(.expert(layer: 0, dice.below(blockCount)), planes)
    }
  }

  /// What is thought to come later: something, nothing, or what was thought before.
  private func randomGuess(_ blockCount: Int, _ dice: inout Dice) -> [Visit]? {
    [nil, [], randomPlan(blockCount, &dice)][dice.below(3)]
  }

  private func take(
    _ visit: Visit, _ pager: inout Pager, _ dice: inout Dice, _ model: inout Model
  ) throws {
    var expected = model.open[visit.block] ?? Expected()
    var page = try pager.next()
    let wanted = visit.planes.intersection(page.geometry.planes)
    #expect(page.block == visit.block && page.planes == wanted)
    #expect(page.virgin.isEmpty || expected.version == 0)
    #expect(page.updates == expected.version)
    #expect(page.lastStep == expected.lastStep && page.tokens == expected.tokens)
    page.fill(page.virgin, version: 0)
    #expect(page.wrongPlanes(version: expected.version).isEmpty)
    if visit.planes == .all, dice.below(4) > 0 {
      expected = Expected(
        version: expected.version + 1, lastStep: model.step, tokens: expected.tokens + 3)
      page.fill(.all, version: expected.version)
      pager.writeBack(page, step: model.step, tokens: 3)
      model.open[visit.block] = expected
    } else {
      pager.keep(page)
    }
    if dice.below(2) == 0 { pager.pump() }
  }

  private func overwrite(
    _ pager: inout Pager, _ blockCount: Int, _ dice: inout Dice, _ model: inout Model
  ) throws {
    let block = BlockID.expert(layer: 0, dice.below(blockCount))
    var expected = model.open[block] ?? Expected()
    var page = try pager.blank(block)
    expected = Expected(
      version: expected.version + 1, lastStep: model.step, tokens: expected.tokens)
    page.fill(.all, version: expected.version)
    // Reads for visits to come go on, but none into this page.
    for _ in 0..<dice.below(4) { pager.pump() }
    #expect(page.wrongPlanes(version: expected.version).isEmpty)
    pager.writeBack(page, step: model.step, tokens: 0)
    model.open[block] = expected
  }
}

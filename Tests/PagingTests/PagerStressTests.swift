import Base
import DirectIO
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

  /// One process: opens the store, trains at random, and ends without a word.
  private func live(
    _ world: World, _ disk: any Disk, _ dice: inout Dice, _ model: inout Model, rounds: Int
  ) throws {
    let store = try world.open(disk)
    let (weights, state) = (2 + dice.below(5), 2 + dice.below(4))
    var pager = try World.pager(store, weights, state)
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

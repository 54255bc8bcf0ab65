import Base
import DirectIO
import Glibc
import Simulation
import Storage
import Testing

/// Generations that are frozen, made durable beside further writes, kept, gone back to and dropped.
@Suite struct GenerationTests {
  let directory: TestDirectory
  let medium = SimulatedMedium(seed: 6)
  private let blocks = (0..<4).map { BlockID.expert(layer: 0, $0) }

  init() throws { directory = try TestDirectory() }

  private func open(keep: Int = 1) throws -> Store {
    try Store.open(
      configuration([directory.path], keep: keep), disk: SimulatedDisk(medium, seed: 1),
      create: true)
  }

  private func expect(_ store: Store, _ values: [UInt8?]) throws {
    let mover = try RecordMover(store)
    for (block, value) in zip(blocks, values) {
      guard let value else {
        #expect(store.record(of: block) == nil)
        continue
      }
      let (bytes, damage) = try mover.read(block)
      #expect(bytes == RecordMover.bytes(value, testGeometry) && damage.isEmpty, "\(block)")
    }
  }

  /// Writes between freeze and durability belong to the next generation, late ones to the frozen
  /// one, in either order.
  @Test func whatIsFrozenStaysAsItWas() throws {
    do {
      let store = try open()
      let mover = try RecordMover(store)
      for block in blocks.dropLast() { try mover.write(block, 1) }
      store.freeze(step: 1, payload: [1], late: [blocks[3]])
      try mover.write(blocks[0], 2)
      try mover.write(blocks[3], 1, isLate: true)
      try mover.write(blocks[3], 2)
      store.makeDurable()
      try mover.write(blocks[1], 2)
      #expect(try store.finishCommit(wait: true)?.step == 1)
      try expect(store, [2, 2, 1, 2])
    }
    let store = try open()
    #expect(store.generation?.payload == [1])
    try expect(store, [1, 1, 1, 1])
  }

  /// Power fails before a frozen generation is durable: the one before is whole.
  @Test func aFrozenGenerationIsNotYetDurable() throws {
    do {
      let store = try open()
      let mover = try RecordMover(store)
      for block in blocks { try mover.write(block, 1) }
      try store.commit(step: 1, payload: [])
      for block in blocks { try mover.write(block, 2) }
      store.freeze(step: 2, payload: [])
      // No slot is left until generation 1 is superseded, but for the spare ones.
      let places = blocks.map {
        store.beginWrite(
          $0, checksums: PlaneValues(hi: 0, lo: 0, m: 0, v: 0), history: BlockHistory())
      }
      #expect(places.contains { $0 == nil } == (store.freeSlotCount == 0))
      (store.disk as? SimulatedDisk)?.crash()
    }
    let store = try open()
    #expect(store.generation?.step == 1)
    try expect(store, [1, 1, 1, 1])
  }

  /// A record of a generation on its way is lost: the one before stays the last.
  @Test func aGenerationThatLostARecordIsGivenUp() throws {
    let failure = StorageError.abandoned(blocks[2])
    do {
      let store = try open()
      let mover = try RecordMover(store)
      for block in blocks { try mover.write(block, 1) }
      try store.commit(step: 1, payload: [])
      try mover.write(blocks[2], 2)
      store.freeze(step: 2, payload: [])
      store.makeDurable()
      // Not one of its records.
      store.giveUp(blocks[1], failure)
      #expect(store.isCommitting && store.state(of: blocks[2]) == .uncommitted(lastGeneration: 1))
      store.giveUp(blocks[2], failure)
      #expect(!store.isCommitting && store.state(of: blocks[2]) == .uncommitted(lastGeneration: 1))
    }
    let store = try open()
    #expect(store.generation?.step == 1)
    try expect(store, [1, 1, 1, 1])
  }

  /// It was durable already: then that is said.
  @Test func aDurableGenerationIsNotGivenUp() throws {
    let store = try open()
    let mover = try RecordMover(store)
    for block in blocks { try mover.write(block, 1) }
    store.freeze(step: 1, payload: [])
    store.makeDurable()
    while try store.finishCommit(wait: false) == nil {}
    store.giveUp(blocks[2], .abandoned(blocks[2]))
    #expect(store.state(of: blocks[2]) == .committed(wholeGeneration: nil))
  }

  /// Each kept generation has its own bytes and shares those that did not change; going back finds
  /// them, and what comes after starts from there.
  @Test func keptGenerationsCanBeGoneBackTo() throws {
    do {
      let store = try open(keep: 3)
      let mover = try RecordMover(store)
      let free = store.freeSlotCount
      for step in 1...5 {
        // Block 3 is never written, block 0 always.
        for index in 0..<3 where step % (index + 1) == 0 {
          try mover.write(blocks[index], UInt8(step))
        }
        try store.commit(step: step, payload: [UInt8(step)])
      }
      #expect(store.generations.map(\.step) == [3, 4, 5])
      // Versions of block 0 at 3, 4, 5; of block 1 at 2, 4; of block 2 at 3.
      #expect(store.freeSlotCount == free - 6)
      try expect(store, [5, 4, 3, nil])
    }
    do {
      let store = try Store.openAlone(
        paths: [directory.path], disk: SimulatedDisk(medium, seed: 2))
      let error = #expect(throws: StorageError.self) { try store.rollBack(to: 2) }
      #expect("\(try #require(error))".contains("there are: 3, 4, 5"))
      try store.rollBack(to: 3)
      try expect(store, [3, 2, 3, nil])
    }
    let store = try open(keep: 3)
    #expect(store.generations.map(\.step) == [3] && store.generation?.payload == [3])
    try expect(store, [3, 2, 3, nil])
    try RecordMover(store).write(blocks[3], 9)
    try store.commit(step: 4, payload: [])
    try expect(store, [3, 2, 3, 9])
  }

  /// A later run keeps fewer, and what it does not keep is free.
  @Test func fewerCanBeKept() throws {
    do {
      let store = try open(keep: 4)
      let mover = try RecordMover(store)
      for step in 1...4 {
        for block in blocks { try mover.write(block, UInt8(step)) }
        try store.commit(step: step, payload: [])
      }
      #expect(store.generations.count == 4)
    }
    let store = try open(keep: 2)
    let mover = try RecordMover(store)
    try mover.write(blocks[0], 7)
    try store.commit(step: 5, payload: [])
    #expect(store.generations.map(\.step) == [4, 5])
    try expect(store, [7, 4, 4, 4])
  }

  /// What a damaged record means depends on whether something durable needs it.
  @Test func damageSaysWhichGenerationIsWhole() throws {
    let path = directory.path + "/pages.bin"
    let store = try open(keep: 2)
    let mover = try RecordMover(store)
    func damage(_ block: BlockID) throws -> Damage.State? {
      medium.flipBit(of: path, byte: store.place(of: block).offset + 9, bit: 0)
      return try mover.read(block).damage.first?.state
    }
    for block in blocks { try mover.write(block, 1) }
    #expect(try damage(blocks[0]) == .uncommitted(lastGeneration: nil))
    try mover.write(blocks[0], 1)
    try store.commit(step: 1, payload: [])
    #expect(try damage(blocks[1]) == .committed(wholeGeneration: nil))
    try mover.write(blocks[0], 2)
    try store.commit(step: 2, payload: [])
    #expect(try damage(blocks[0]) == .committed(wholeGeneration: 1))
    try mover.write(blocks[2], 3)
    #expect(try damage(blocks[2]) == .uncommitted(lastGeneration: 2))
  }
}

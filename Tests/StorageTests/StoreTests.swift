import Base
import DirectIO
import Glibc
import Simulation
import Storage
import Testing

@Suite struct StoreTests {
  let directory: TestDirectory
  let medium = SimulatedMedium(seed: 5)

  init() throws { directory = try TestDirectory() }

  private func open(_ faults: [Fault] = []) throws -> Store {
    try Store.open(
      configuration([directory.path]), disk: SimulatedDisk(medium, seed: 1, faults: faults),
      create: true)
  }

  private let blocks = (0..<4).map { BlockID.expert(layer: 1, $0) }

  /// What is committed is there again, with its history; what was never written is virgin.
  @Test func recordsSurviveACommitAndARestart() throws {
    do {
      let store = try open()
      #expect(store.generation == nil && store.writtenBlocks.isEmpty)
      let mover = try RecordMover(store)
      for (index, block) in blocks.enumerated() { try mover.write(block, UInt8(index + 1)) }
      try store.commit(step: 7, payload: [1, 2, 3])
    }
    let store = try open()
    #expect(store.generation?.step == 7 && store.generation?.payload == [1, 2, 3])
    #expect(store.writtenBlocks == blocks)
    #expect(store.record(of: .dense(0)) == nil)
    let mover = try RecordMover(store)
    for (index, block) in blocks.enumerated() {
      let (bytes, damage) = try mover.read(block)
      #expect(bytes == RecordMover.bytes(UInt8(index + 1), testGeometry) && damage.isEmpty)
      let history = BlockHistory(lastStep: 1, updates: index + 1, tokens: 10 * (index + 1))
      #expect(store.record(of: block)?.history == history)
    }
  }

  /// Power fails after writes that no commit followed: the last generation is whole, whatever
  /// became of the writes.
  @Test func uncommittedWritesNeverTouchTheLastGeneration() throws {
    do {
      let store = try open()
      let mover = try RecordMover(store)
      for block in blocks { try mover.write(block, 1) }
      try store.commit(step: 1, payload: [])
      for value in 2...4 {
        for block in blocks { try mover.write(block, UInt8(value)) }
      }
      #expect(try mover.read(blocks[0]).bytes == RecordMover.bytes(4, testGeometry))
      (store.disk as? SimulatedDisk)?.crash()
    }
    let store = try open()
    #expect(store.generation?.step == 1)
    let mover = try RecordMover(store)
    for block in blocks {
      let (bytes, damage) = try mover.read(block)
      #expect(bytes == RecordMover.bytes(1, testGeometry) && damage.isEmpty)
    }
  }

  /// Two slots per block are enough for ever: each commit frees the slots it supersedes.
  @Test func slotsAreReused() throws {
    let store = try open()
    let mover = try RecordMover(store)
    let free = store.freeSlotCount
    for step in 1...5 {
      for block in blocks { try mover.write(block, UInt8(step)) }
      let open = step == 1 ? blocks.count : 2 * blocks.count
      #expect(store.freeSlotCount == free - open)
      try store.commit(step: step, payload: [])
      #expect(store.freeSlotCount == free - blocks.count)
    }
  }

  /// What is written once needs a slot a block; the next writer makes room for another generation.
  @Test(arguments: [1, 3])
  func aStoreThatIsWrittenOnceGrowsWhenItIsOpenedAgain(keep: Int) throws {
    func open(isWrittenOnce: Bool) throws -> Store {
      try Store.open(
        configuration([directory.path], keep: keep, isWrittenOnce: isWrittenOnce),
        disk: SimulatedDisk(medium, seed: 1), create: true)
    }
    let all = (0..<6).map { BlockID.dense($0) }
    do {
      let store = try open(isWrittenOnce: true)
      #expect(store.description.paths.map(\.slots) == [6 + 2])
      let mover = try RecordMover(store)
      for (index, block) in all.enumerated() { try mover.write(block, UInt8(index)) }
      try store.commit(step: 0, payload: [])
    }
    // Neither it nor a later one takes back what the store has.
    for step in 1...2 {
      let store = try open(isWrittenOnce: step == 2)
      #expect(store.description.paths.map(\.slots) == [(keep + 1) * 6 + 2])
      let mover = try RecordMover(store)
      for (index, block) in all.enumerated() {
        #expect(try mover.read(block).bytes == RecordMover.bytes(UInt8(index), testGeometry))
        try mover.write(block, UInt8(index), step: step)
      }
      try store.commit(step: step, payload: [])
    }
  }

  /// A sync that failed may have lost what was written, and the next one would not say so: the
  /// store must be opened again, and then has the generation before.
  @Test func aFailedSyncIsNotTriedAgain() throws {
    // Calls of opening: create, open, header read and write, sync. Four writes and the sync of the
    // first commit, four more and the sync of the second.
    let store = try open([.call(15, errno: EIO, isPersistent: false)])
    let mover = try RecordMover(store)
    for block in blocks { try mover.write(block, 3) }
    try store.commit(step: 1, payload: [])
    for block in blocks { try mover.write(block, 4) }
    let free = store.freeSlotCount
    for _ in 0..<2 {
      let error = try #require(
        #expect(throws: StorageError.self) { try store.commit(step: 2, payload: []) })
      #expect(error.exitCode == 74)
      #expect("\(error)".contains("cannot sync \(directory.path)/pages.bin"))
      #expect(store.generation?.step == 1 && store.freeSlotCount == free)
    }
  }

  /// A header whose sync failed is seen by reads and may not survive a power failure: the next
  /// opening writes it again, before the first commit needs it.
  @Test func aHeaderWhoseSyncFailedIsWrittenAgain() throws {
    for seed in 1...8 {
      let (directory, medium) = (try TestDirectory(), SimulatedMedium(seed: UInt64(seed)))
      func open(_ disk: SimulatedDisk) throws -> Store {
        try Store.open(configuration([directory.path]), disk: disk, create: true)
      }
      // Create, open, header read, header write, sync.
      let faults = [Fault.call(5, errno: EIO, isPersistent: false)]
      #expect(throws: StorageError.self) {
        try open(SimulatedDisk(medium, seed: 1, faults: faults))
      }
      let disk = SimulatedDisk(medium, seed: 2)
      do {
        let store = try open(disk)
        try RecordMover(store).write(.dense(1), 5)
        try store.commit(step: 1, payload: [])
      }
      disk.crash()
      #expect(try open(SimulatedDisk(medium, seed: 3)).generation?.step == 1)
    }
  }

  /// A bit that is wrong on its way from the drive makes nobody else's file of an empty one.
  @Test func aHeaderIsReadAgainBeforeItIsRefused() throws {
    #expect(throws: StorageError.self) { try open([.bitFlip(read: 1), .bitFlip(read: 2)]) }
    #expect(throws: Never.self) { try open([.bitFlip(read: 1)]) }
  }

  @Test(arguments: Plane.allCases)
  func damageNamesThePlane(plane: Plane) throws {
    let path = directory.path + "/pages.bin"
    let store = try open()
    let mover = try RecordMover(store)
    for block in blocks { try mover.write(block, 9) }
    let offset = store.place(of: blocks[2]).offset + testGeometry.offset(of: plane)
    medium.flipBit(of: path, byte: offset + 100, bit: 3)
    let damage = try mover.read(blocks[2]).damage
    #expect(damage.map(\.plane) == [plane] && damage.map(\.offset) == [offset])
    let text = "\(StorageError.damaged(damage[0]))"
    for part in ["layer 1 expert 2", "plane \(plane)", path, "\(offset)"] {
      #expect(text.contains(part))
    }
    #expect(try mover.read(blocks[1]).damage.isEmpty)
  }

  /// Records spread over paths as their bandwidths say, and are found again.
  @Test func recordsSpreadOverPaths() throws {
    let other = try TestDirectory()
    let wanted = configuration(
      [directory.path, other.path], bandwidths: [1, 3], blocks: 12)
    #expect(wanted.slotsPerPath == [7, 20])
    do {
      let store = try Store.open(wanted, disk: SimulatedDisk(medium, seed: 1), create: true)
      let mover = try RecordMover(store)
      for index in 0..<12 { try mover.write(.dense(index), UInt8(index)) }
      try store.commit(step: 1, payload: [])
    }
    let store = try Store.open(wanted, disk: SimulatedDisk(medium, seed: 1), create: false)
    let mover = try RecordMover(store)
    var onFirst = 0
    for index in 0..<12 {
      #expect(try mover.read(.dense(index)).damage.isEmpty)
      if store.place(of: .dense(index)).path.hasPrefix(directory.path) { onFirst += 1 }
    }
    #expect(onFirst == 3)
  }
}

import Base
import DirectIO
import Glibc
import Paging
import PinnedMemory
import Simulation
import Storage
import TestSupport
import Testing

/// The fault table of whole records: through the simulated disk where only that can be made to
/// fail so, and on the real engines. A row ends in success, or in an error that names the record,
/// the file and the place; then the last generation is whole.
///
/// `PagerFaultTests` fails every single call in turn; `StoreOpenTests` refuses what is no store.
@Suite("Fault table: records") struct FaultTableTests {
  static let engines = [EnginePreference.ring, .threads].filter {
    openDisk(preferring: $0).note == nil
  }
  let six = blocks(6)

  /// Updates every block once, from version `number - 1`, and commits.
  private func step(_ store: Store, _ number: Int) throws {
    var pager = try World.pager(store, 3, 3)
    pager.plan(visits(store.allBlocks, .all))
    for _ in store.allBlocks { try pager.updateNext(step: number, from: number - 1) }
    try pager.commit(step: number, payload: [])
  }

  /// Visits every block and expects `version` of it, or an error.
  private func failures(_ store: Store, version: Int) throws -> [BlockID: StorageError] {
    var pager = try World.pager(store, 3, 3)
    var failures: [BlockID: StorageError] = [:]
    pager.plan(visits(store.allBlocks, .all))
    for block in store.allBlocks {
      do throws(StorageError) {
        let page = try pager.next()
        #expect(page.block == block && page.wrongPlanes(version: version).isEmpty)
        pager.keep(page)
      } catch {
        failures[block] = error
      }
    }
    return failures
  }

  /// Expects a failed transfer that says all that is needed to act on it.
  private func expectNamed(
    _ error: StorageError, _ data: String, _ remedy: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let (block, failure): (BlockID, DiskError)
    switch error {
    case .transfer(let named, _, _, let cause), .unreadable(let named, _, _, let cause, _):
      (block, failure) = (named, cause)
    default: throw error
    }
    #expect(failure.path == data && failure.length > 0, sourceLocation: sourceLocation)
    #expect(error.exitCode == 74, sourceLocation: sourceLocation)
    let place = "at offset \(failure.offset), \(failure.length) bytes: "
    for part in ["\(block), plane", data, place, remedy] {
      #expect("\(error)".contains(part), sourceLocation: sourceLocation)
    }
  }

  // MARK: No room, no device

  /// Nothing of the last generation was freed or overwritten when the error came.
  @Test(
    "No space in mid-run, a device that is gone",
    arguments: [(ENOSPC, "no space left"), (EDQUOT, "quota"), (ENODEV, "the device is gone")])
  func aPersistentFailureLeavesTheLastGeneration(_ code: Int32, _ remedy: String) throws {
    // Calls 1 to 5 open the store; three steps make 36 transfers each.
    for number in stride(from: 6, through: 100, by: 9) {
      let world = try World()
      let data = world.directory.path + "/pages.bin"
      let error = try #require(
        #expect(throws: StorageError.self) {
          let fault = Fault.call(number, errno: code, isPersistent: true)
          let store = try world.open(faults: [fault])
          for number in 1...9 { try step(store, number) }
        })
      if case .disk(let failure) = error {
        #expect(failure.action == .sync && failure.path == data && error.exitCode == 74)
      } else {
        try expectNamed(error, data, remedy)
      }
      let store = try world.open()
      let committed = store.generation?.step ?? 0
      #expect(store.writtenBlocks == (committed > 0 ? six : []))
      #expect(try committed == 0 || failures(store, version: committed).isEmpty)
    }
  }

  @Test(
    "A drive that fills up in mid-run",
    .enabled(if: PrivateFileSystem.driveIsPossible, "loop devices take root"), arguments: engines)
  func aFullDriveLosesNothing(_ engine: EnginePreference) throws {
    let (world, drive) = (try World(), try PrivateFileSystem.drive())
    func open() throws -> Store {
      let configuration = StoreConfiguration(
        paths: [world.directory.path, drive.path], identity: "test", geometry: World.geometry,
        blocks: six.count)
      return try Store.open(configuration, disk: openDisk(preferring: engine).disk, create: true)
    }
    try step(open(), 1)
    try drive.fill()
    let error = try #require(#expect(throws: StorageError.self) { try step(open(), 2) })
    try expectNamed(error, drive.path + "/pages.bin", "no space left on the device; free some")
    do {
      let store = try open()
      #expect(store.generation?.step == 1)
      #expect(try failures(store, version: 1).isEmpty)
    }
    drive.clear()
    let store = try open()
    try step(store, 2)
    #expect(try failures(store, version: 2).isEmpty)
  }

  // MARK: Errors of the device

  @Test("EIO that goes away") func transientErrorsAreRetried() throws {
    for transfer in stride(from: 1, through: 60, by: 4) {
      let world = try World()
      let fault = Fault.transient(transfer: transfer, times: Request.errorsAllowed)
      let store = try world.open(faults: [fault])
      for number in 1...3 { try step(store, number) }
      #expect(store.disk.counters.retries == Request.errorsAllowed)
      #expect(try failures(store, version: 3).isEmpty)
    }
  }

  @Test("EIO that stays") func persistentErrorsAreNamedAfterSomeTries() throws {
    // Transfers 1 and 2 are those of the header.
    for transfer in stride(from: 3, through: 40, by: 4) {
      let world = try World()
      let fault = Fault.transient(transfer: transfer, times: Request.errorsAllowed + 1)
      let error = try #require(
        #expect(throws: StorageError.self) {
          let store = try world.open(faults: [fault])
          for number in 1...3 { try step(store, number) }
        })
      try expectNamed(
        error, world.directory.path + "/pages.bin", "after 3 repetitions; see `dmesg`")
      let store = try world.open()
      let committed = store.generation?.step ?? 0
      #expect(try committed == 0 || failures(store, version: committed).isEmpty)
    }
  }

  // MARK: Files changed behind the store's back

  @Test("Swap file zeroed between steps", arguments: engines)
  func zeroedRecordsAreNoticed(_ engine: EnginePreference) throws {
    let world = try World()
    let store = try world.open(openDisk(preferring: engine).disk)
    try step(store, 1)
    let lost = six.filter { store.place(of: $0).offset < Self.end(ofRecord: 3) }
    let data = world.directory.path + "/pages.bin"
    try overwrite(data, Self.end(ofRecord: 0)..<Self.end(ofRecord: 3))
    let failures = try failures(store, version: 1)
    #expect(Set(failures.keys) == Set(lost) && lost.count == 3)
    for (block, error) in failures {
      guard case .damaged(let damage) = error else { throw error }
      let offset = store.place(of: block).offset + World.geometry.offset(of: damage.plane)
      #expect(damage.block == block && damage.path == data && damage.offset == offset)
      #expect(error.exitCode == 65)
    }
  }

  @Test("Swap file cut between steps", arguments: engines)
  func cutRecordsAreNoticed(_ engine: EnginePreference) throws {
    let world = try World()
    let store = try world.open(openDisk(preferring: engine).disk)
    try step(store, 1)
    let lost = six.filter { store.place(of: $0).offset >= Self.end(ofRecord: 3) }
    let data = world.directory.path + "/pages.bin"
    #expect(unsafe truncate(data, Self.end(ofRecord: 3) + 100) == 0)
    let failures = try failures(store, version: 1)
    #expect(Set(failures.keys) == Set(lost) && lost.count == 3)
    for error in failures.values {
      try expectNamed(error, data, "the file ends at \(Self.end(ofRecord: 3) + 100): it was cut")
    }
  }

  @Test("Simulated: swap file cut between steps") func cutRecordsAreNoticedInMemory() throws {
    let world = try World()
    let store = try world.open()
    try step(store, 1)
    let data = world.directory.path + "/pages.bin"
    world.medium.truncate(data, to: Self.end(ofRecord: 3))
    let failures = try failures(store, version: 1)
    #expect(failures.count == 3)
    for error in failures.values { try expectNamed(error, data, "the file ends at ") }
  }

  // MARK: Sizes

  /// `hi` and `lo` have 100 bytes more than 1 MiB, the moments 200 more than 2 MiB.
  @Test("Content of 1 MiB and 100 bytes", arguments: engines)
  func oddSizesComeBackWhole(_ engine: EnginePreference) throws {
    let directory = try TestDirectory()
    let geometry = RecordGeometry(parametersPerBlock: (1 << 20 + 100) / 2)
    #expect(geometry.contentBytes.hi == 1 << 20 + 100)
    for version in 0...2 {
      let configuration = StoreConfiguration(
        paths: [directory.path], identity: "test", geometry: geometry, blocks: 4)
      let store = try Store.open(
        configuration, disk: openDisk(preferring: engine).disk, create: true)
      if version > 0 { #expect(try failures(store, version: version).isEmpty) }
      if version < 2 { try step(store, version + 1) }
    }
  }

  /// Slots are shared by all blocks in turn, and records are written whole: of what was there before,
  /// not even the padding is left.
  @Test("A record rewritten", arguments: engines)
  func nothingOfOlderRecordsIsLeft(_ engine: EnginePreference) throws {
    let world = try World()
    let store = try world.open(openDisk(preferring: engine).disk)
    for number in 1...3 {
      try step(store, number)
      // What a careless writer would leave behind the next records.
      let free = Set(0..<14).subtracting(six.map { Self.record(at: store.place(of: $0).offset) })
      for slot in free {
        try overwrite(
          world.directory.path + "/pages.bin",
          Self.end(ofRecord: slot)..<Self.end(ofRecord: slot + 1), with: 0xff)
      }
    }
    let bytes = try contents(world.directory.path + "/pages.bin")
    for block in six {
      let record = bytes[store.place(of: block).offset...].prefix(World.geometry.recordBytes)
      for plane in Plane.allCases {
        let start = record.startIndex + World.geometry.offset(of: plane)
        let end = start + World.geometry.planeBytes(plane)
        let padding = record[start + World.geometry.contentBytes[plane]..<end]
        #expect(!padding.isEmpty && padding.allSatisfy { $0 == 0 })
      }
      let first = record.prefix(2)
      #expect(
        first.elementsEqual(
          [hiBits(block, 3, 0) & 0xff, hiBits(block, 3, 0) >> 8].map { UInt8($0) }))
    }
    #expect(try failures(store, version: 3).isEmpty)
  }

  /// Where the n-th record of a data file ends, and the next begins; a header comes before the first.
  private static func end(ofRecord number: Int) -> Int {
    4096 + number * World.geometry.recordBytes
  }
  private static func record(at offset: Int) -> Int { (offset - 4096) / World.geometry.recordBytes }

  private func overwrite(_ path: String, _ range: Range<Int>, with byte: UInt8 = 0) throws {
    let file = unsafe Glibc.open(path, O_RDWR | O_CLOEXEC)
    defer { close(file) }
    let bytes = [UInt8](repeating: byte, count: range.count)
    try #require(unsafe pwrite(file, bytes, bytes.count, range.lowerBound) == bytes.count)
    try #require(fsync(file) == 0)
  }

  private func contents(_ path: String) throws -> [UInt8] {
    let file = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC)
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: Self.end(ofRecord: 14))
    try #require(unsafe pread(file, &bytes, bytes.count, 0) == bytes.count)
    return bytes
  }
}

extension Store {
  /// All blocks that it was made for.
  fileprivate var allBlocks: [BlockID] { PagingTests.blocks(description.blocks) }
}

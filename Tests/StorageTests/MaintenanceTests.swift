import Base
import DirectIO
import Dispatch
import Glibc
import Storage
import Synchronization
import Testing

/// Scrubbing, compacting, draining, copying and growing stores on real files.
@Suite struct MaintenanceTests: Sendable {
  let places: [TestDirectory]
  private var paths: [String] { places.map(\.path) }
  private let blocks = (0..<6).map { BlockID.expert(layer: 2, $0) }

  init() throws { places = try (0..<3).map { _ in try TestDirectory() } }

  private func disk() -> any Disk { openDisk().disk }

  private func open(_ paths: [String], keep: Int = 2) throws -> Store {
    try Store.open(configuration(paths, keep: keep), disk: disk(), create: true)
  }

  /// Two generations over `paths`: all blocks with 1, then the even ones with 2.
  private func make(_ paths: [String]) throws {
    let store = try open(paths)
    let mover = try RecordMover(store)
    for block in blocks { try mover.write(block, 1) }
    try store.commit(step: 1, payload: [])
    for block in blocks where block.index % 2 == 0 { try mover.write(block, 2) }
    try store.commit(step: 2, payload: [])
  }

  private func expect(_ store: Store, evenBlocks value: UInt8 = 2) throws {
    let mover = try RecordMover(store)
    for block in blocks {
      let (bytes, damage) = try mover.read(block)
      let wanted = block.index % 2 == 0 ? value : 1
      #expect(bytes == RecordMover.bytes(wanted, testGeometry) && damage.isEmpty, "\(block)")
    }
  }

  private func alone(_ paths: [String]) throws -> Store {
    try Store.openAlone(paths: paths, disk: disk())
  }

  private func size(_ path: String) -> Int {
    var status = stat()
    return unsafe stat(path + "/pages.bin", &status) == 0 ? Int(status.st_size) : -1
  }

  /// Reads take turns between the drives, whatever the order of the records.
  @Test func scrubbingReadsAllDrivesAtOnce() throws {
    do {
      let store = try open([paths[0], paths[1]])
      let mover = try RecordMover(store)
      for block in blocks { try mover.write(block, 1) }
      try store.commit(step: 1, payload: [])
    }
    let observed = ObservedDisk(disk())
    let store = try Store.openReadOnly(paths: [paths[0], paths[1]], disk: observed)
    observed.reads = []
    #expect(try store.scrub().isWhole)
    try #require(observed.reads.count == blocks.count)
    for turn in stride(from: 0, to: blocks.count, by: 2) {
      #expect(observed.reads[turn] != observed.reads[turn + 1], "turn \(turn)")
    }
  }

  @Test func scrubbingFindsDamageOfEveryGeneration() throws {
    try make([paths[0]])
    let old: Int
    let new: Int
    do {
      let store = try Store.openReadOnly(paths: [paths[0]], disk: disk())
      let report = try store.scrub()
      #expect(report.isWhole && report.records == 9 && report.wholeGenerations == [1, 2])
      new = store.place(of: blocks[0]).offset
      old = store.place(of: blocks[1]).offset
    }
    let file = paths[0] + "/pages.bin"
    var bytes = readBytes(file)
    bytes[new + testGeometry.offset(of: .m) + 7] ^= 4
    writeBytes(file, bytes)
    let store = try Store.openReadOnly(paths: [paths[0]], disk: disk())
    var report = try store.scrub()
    #expect(report.damaged.map(\.planes) == [["m"]] && report.damaged[0].generations == [2])
    #expect(report.damaged[0].block == "layer 2 expert 0" && report.damaged[0].offset == new)
    #expect(report.wholeGenerations == [1])
    bytes[old] ^= 1
    writeBytes(file, bytes)
    report = try store.scrub()
    #expect(report.damaged.count == 2 && report.wholeGenerations.isEmpty)
    #expect(Set(report.damaged.map(\.generations)) == [[2], [1, 2]])
  }

  private func manifestDamage() throws -> String? {
    try Store.openReadOnly(paths: [paths[0]], disk: disk()).scrub().manifestDamage
  }

  /// A commit changes the file and its digest one after the other.
  @Test func scrubbingBesideAWriterFindsNothing() throws {
    try make([paths[0]])
    let isDone = Atomic(false)
    DispatchQueue.concurrentPerform(iterations: 2) { worker in
      #expect(throws: Never.self) {
        if worker == 0 {
          defer { isDone.store(true, ordering: .relaxed) }
          let store = try open([paths[0]])
          let mover = try RecordMover(store)
          for step in 3..<100 {
            for block in blocks where store.freeSlotCount > 0 { try mover.write(block, 3) }
            try store.commit(step: step, payload: [])
            _ = try store.dropUnread()
          }
        } else {
          while !isDone.load(ordering: .relaxed) {
            let report = try Store.openReadOnly(paths: [paths[0]], disk: disk()).scrub()
            #expect(report.isWhole, "\(report)")
          }
        }
      }
    }
  }

  @Test func scrubbingFindsADamagedDigest() throws {
    try make([paths[0]])
    let file = paths[0] + "/manifest.digest"
    let bytes = readBytes(file)
    for length in 0..<bytes.count {
      writeBytes(file, Array(bytes[..<length]))
      #expect(try manifestDamage()?.contains(file) == true, "cut to \(length)")
    }
    for index in bytes.indices {
      var flipped = bytes
      flipped[index] ^= 0x80
      writeBytes(file, flipped)
      #expect(try manifestDamage()?.contains(file) == true, "byte \(index)")
    }
    unsafe unlink(file)
    #expect(try manifestDamage() == nil, "a crash may leave none")
  }

  /// SQLite keeps the size of its page cache in byte 48 to 51 and does not care which it is.
  @Test func aManifestDamagedBetweenItsRowsIsNotWritten() throws {
    try make([paths[0]])
    let file = paths[0] + "/manifest.sqlite"
    var bytes = readBytes(file)
    bytes[50] ^= 1
    writeBytes(file, bytes)
    #expect(try manifestDamage()?.contains(file) == true)
    for opening in [{ try open([paths[0]]) }, { try alone([paths[0]]) }] {
      let error = try #require(throws: StorageError.self) { _ = try opening() }
      #expect("\(error)".contains(file) && "\(error)".contains("snapshot") && error.exitCode == 65)
    }
    #expect(readBytes(file) == bytes)

    // The copy is whole.
    let copy = paths[1] + "/copy"
    _ = try Store.openReadOnly(paths: [paths[0]], disk: disk()).snapshot(to: copy)
    try expect(try open([copy]))
    #expect(try Store.openReadOnly(paths: [copy], disk: disk()).scrub().isWhole)
  }

  /// One letter of the name of a column.
  @Test func aDamagedSchemaIsDamage() throws {
    try make([paths[0]])
    let file = paths[0] + "/manifest.sqlite"
    let name = Array("committed_at".utf8)
    var bytes = readBytes(file)
    let start = try #require(bytes.indices.first { bytes[$0...].starts(with: name) })
    bytes[start] ^= 1
    writeBytes(file, bytes)
    let error = try #require(throws: StorageError.self) {
      _ = try Store.openReadOnly(paths: [paths[0]], disk: disk())
    }
    #expect("\(error)".contains(file) && "\(error)".contains("damaged"))
    #expect(error.exitCode == 65)
  }

  @Test func aWriterMakesADigestWhereNoneIs() throws {
    try make([paths[0]])
    let file = paths[0] + "/manifest.digest"
    let bytes = readBytes(file)
    for lost in [{ unsafe _ = unlink(file) }, { writeBytes(file, []) }] {
      lost()
      _ = try open([paths[0]])
      #expect(readBytes(file) == bytes)
    }
  }

  /// Compacting a compact store leaves its rows, and makes its file anew.
  @Test func aDigestFollowsAFileWhoseRowsStay() throws {
    try make([paths[0]])
    for _ in 0..<2 { _ = try alone([paths[0]]).compact() }
    #expect(try manifestDamage() == nil && !readBytes(paths[0] + "/manifest.digest").isEmpty)
    try expect(try open([paths[0]]))
  }

  @Test func compactingGivesBackAllButTheLastGeneration() throws {
    try make(Array(paths[..<2]))
    let before = paths[..<2].map { size($0) }
    let given = try alone(Array(paths[..<2])).compact()
    let after = paths[..<2].map { size($0) }
    #expect(given == before.reduce(0, +) - after.reduce(0, +) && given > 0)
    #expect(after.reduce(0, +) == 2 * 4096 + 6 * testGeometry.recordBytes)
    do {
      let reader = try Store.openReadOnly(paths: Array(paths[..<2]), disk: disk())
      #expect(reader.generations.map(\.step) == [2])
      try expect(reader)
    }
    // Training has its room again.
    let store = try open(Array(paths[..<2]))
    #expect(store.freeSlotCount >= 3 * 6 + 2 - 6)
    let mover = try RecordMover(store)
    for step in 3...5 {
      for block in blocks { try mover.write(block, block.index % 2 == 0 ? 2 : 1) }
      try store.commit(step: step, payload: [])
    }
    try expect(store)
  }

  /// Their slots are free, the room for them is given back, and the others are what they were.
  @Test func blocksCanBeForgotten() throws {
    try make([paths[0]])
    let gone: Set = [blocks[1], blocks[4], BlockID.expert(layer: 2, 9)]
    try alone([paths[0]]).forget(gone, payload: [1, 2])
    do {
      let store = try alone([paths[0]])
      #expect(store.writtenBlocks == blocks.filter { !gone.contains($0) })
      #expect(store.description.blocks == configuration([paths[0]], keep: 2).blocks - 3)
      #expect(store.generations.map(\.step) == [2] && store.generation?.payload == [1, 2])
      #expect(try store.scrub().isWhole)
    }
    _ = try alone([paths[0]]).compact()
    #expect(size(paths[0]) == 4096 + 4 * testGeometry.recordBytes)
    #expect(try manifestDamage() == nil)
    let mover = try RecordMover(try alone([paths[0]]))
    for block in blocks where !gone.contains(block) {
      let value: UInt8 = block.index % 2 == 0 ? 2 : 1
      #expect(try mover.read(block).0 == RecordMover.bytes(value, testGeometry))
    }
    // Whoever still counts on them is refused.
    #expect(throws: StorageError.self) { try open([paths[0]]) }
  }

  /// Records of other stores are taken over as they are, under other names; damaged ones are not.
  @Test func recordsAreAdopted() throws {
    try make([paths[0]])
    let disk = disk()
    do {
      let source = try Store.openReadOnly(paths: [paths[0]], disk: disk)
      let store = try Store.open(
        configuration([paths[1]], keep: 1), disk: disk, create: true)
      try store.adopt(blocks.map { .init(source, $0, as: .expert(layer: 3, $0.index + 1)) })
      try store.commit(step: 4, payload: [])
      for block in blocks {
        let (old, new) = (
          source.record(of: block), store.record(of: .expert(layer: 3, block.index + 1))
        )
        #expect(old?.checksums == new?.checksums && old?.history == new?.history)
      }
      #expect(try store.scrub().isWhole)
    }
  }

  /// Where files share their bytes, so they do damage: it is found when it is read. Elsewhere at once.
  @Test func damagedRecordsAreNotAdoptedUnseen() throws {
    try make([paths[0]])
    let offset = try Store.openReadOnly(paths: [paths[0]], disk: disk()).place(of: blocks[0]).offset
    let file = paths[0] + "/pages.bin"
    var bytes = readBytes(file)
    bytes[offset + 7] ^= 4
    writeBytes(file, bytes)
    let disk = disk()
    let source = try Store.openReadOnly(paths: [paths[0]], disk: disk)
    let store = try Store.open(configuration([paths[2]], keep: 1), disk: disk, create: true)
    let outcome = Result { try store.adopt(blocks.map { .init(source, $0, as: $0) }) }
    guard case .failure(let error) = outcome else {
      try store.commit(step: 1, payload: [])
      #expect(try store.scrub().damaged.count == 1)
      return
    }
    #expect("\(error)".contains("is damaged"))
  }

  /// Any directory can go, the first one with the manifest, too; kept generations move along, and
  /// the same list of directories opens the store afterwards.
  @Test(arguments: 0..<3) func aDirectoryCanGo(index: Int) throws {
    try make(paths)
    try alone(paths).drain(paths[index] + "/.")
    #expect(places[index].contents().isEmpty)
    for named in [paths, paths.filter { $0 != paths[index] }] {
      let store = try open(named)
      #expect(store.generations.map(\.step) == [1, 2])
      try expect(store)
      #expect(try store.scrub().isWhole)
      let error = #expect(throws: StorageError.self) { try store.drain("/nowhere") }
      #expect(error?.exitCode == 78)
    }
    try alone(paths).rollBack(to: 1)
    try expect(try open(paths), evenBlocks: 1)
    #expect(places[index].contents().isEmpty)
  }

  /// A drain of the manifest's directory that ended between copying it and removing it.
  @Test func anInterruptedMoveOfTheManifestIsEnded() throws {
    try make(Array(paths[..<2]))
    try alone(Array(paths[..<2])).drain(paths[0])
    let manifest = readBytes(paths[1] + "/manifest.sqlite")
    writeBytes(paths[0] + "/manifest.sqlite", manifest)
    do {
      let store = try open(Array(paths[..<2]))
      try RecordMover(store).write(blocks[0], 8)
      try store.commit(step: 3, payload: [])
    }
    #expect(places[0].contents().isEmpty)
    // As if it had ended before the copy.
    let newest = readBytes(paths[1] + "/manifest.sqlite")
    writeBytes(paths[0] + "/manifest.sqlite", newest)
    // The drained directory alone is not enough.
    for open in [
      { try open([paths[0]]) }, { try Store.openReadOnly(paths: [paths[0]], disk: disk()) },
    ] {
      let error = try #require(#expect(throws: StorageError.self) { _ = try open() })
      #expect(error.exitCode == 78 && "\(error)".contains(paths[1]))
    }
    #expect(unsafe unlink(paths[1] + "/manifest.sqlite") == 0)
    // Whoever only reads does so where the manifest still is.
    do {
      let reader = try Store.openReadOnly(paths: Array(paths[..<2]), disk: disk())
      #expect(try reader.generation?.step == 3 && reader.scrub().isWhole)
    }
    let store = try open(Array(paths[..<2]))
    #expect(store.generation?.step == 3 && places[0].contents().isEmpty)
  }

  @Test func erasingLeavesNothing() throws {
    let directory = paths[0] + "/store"
    try make([directory])
    try Store.erase([directory])
    #expect(places[0].contents().isEmpty)
    #expect(unsafe access(directory, F_OK) != 0)
  }

  /// A drain of its first directory was interrupted: both have a manifest.
  @Test func erasingTakesBothManifests() throws {
    let two = Array(paths[..<2])
    try make(two)
    try alone(two).drain(two[0])
    writeBytes(two[0] + "/manifest.sqlite", readBytes(two[1] + "/manifest.sqlite"))
    try Store.erase(two)
    for path in two { #expect(unsafe access(path, F_OK) != 0, "\(path)") }
  }

  /// The same, ended between the transaction and the emptying of the log: what the copy needs is
  /// still in the log.
  @Test func theLogOfAnInterruptedDrainGoesAlong() throws {
    let two = Array(paths[..<2])
    try make(two)
    try alone(two).drain(two[0])
    // Back in the drained directory, with the end of the transaction in its log alone.
    do {
      let database = try LoggedDatabase(two[1] + "/manifest.sqlite")
      try database.run("UPDATE path SET drained = 0")
      try database.run("PRAGMA wal_checkpoint(TRUNCATE)")
      try database.run("UPDATE path SET drained = 1 WHERE id = 0")
      for suffix in ["", "-wal"] {
        let bytes = readBytes(two[1] + "/manifest.sqlite" + suffix)
        try #require(!bytes.isEmpty)
        writeBytes(two[0] + "/manifest.sqlite" + suffix, bytes)
      }
    }
    try #require(unsafe unlink(two[1] + "/manifest.sqlite") == 0)
    // What `pagoda store` is given: the directory with the manifest.
    #expect(try Store.directories(of: two[0]) == two)
    let store = try open(two)
    try expect(store)
    #expect(places[0].contents().isEmpty)
  }

  /// Another store that came to live in a drained directory is nobody's leftover.
  @Test(arguments: [0, 1]) func anotherStoreInADrainedDirectoryIsLeftAlone(index: Int) throws {
    let two = Array(paths[..<2])
    try make(two)
    try alone(two).drain(two[index])
    try make([two[index]])
    let other = places[index].contents(except: "store.lock")
    // The first of two stores that are named is the one that is opened: then it is refused.
    let named = index == 0 ? [two[1], two[0]] : two
    try expect(try open(named))
    _ = try alone(named).scrub()
    if index == 0 { #expect(throws: StorageError.self) { try open(two) } }
    #expect(places[index].contents(except: "store.lock") == other)
    try Store.erase(named)
    #expect(places[index].contents(except: "store.lock") == other)
    #expect(places[1 - index].contents().isEmpty)
  }

  /// A drain that ended before the data file was deleted is ended when the store is opened next.
  @Test func theDataFileOfAnInterruptedDrainGoes() throws {
    let two = Array(paths[..<2])
    try make(two)
    let file = readBytes(two[1] + "/pages.bin")
    try alone(two).drain(two[1])
    writeBytes(two[1] + "/pages.bin", file)
    try alone([two[0]]).drain(two[1])
    #expect(places[1].contents().isEmpty)
    writeBytes(two[1] + "/pages.bin", file)
    try expect(try open(two))
    #expect(places[1].contents().isEmpty)
  }

  /// Only drained directories are named.
  @Test func aDrainedDirectoryAloneIsNoStore() throws {
    let two = Array(paths[..<2])
    try make(two)
    let manifest = readBytes(two[0] + "/manifest.sqlite")
    try alone(two).drain(two[1])
    writeBytes(two[1] + "/manifest.sqlite", readBytes(two[0] + "/manifest.sqlite"))
    try #require(!manifest.isEmpty)
    let error = try #require(#expect(throws: StorageError.self) { try open([two[1]]) })
    guard case .directoriesLeftOut = error else { throw error }
    #expect(throws: StorageError.self) { try alone([two[1]]) }
    try expect(try open(two))
  }

  /// A snapshot that was killed when records, and when all but the directory's name were there.
  @Test func anInterruptedSnapshotIsMadeAnew() throws {
    try make([paths[0]])
    let copy = paths[1] + "/copy"
    let reader = try Store.openReadOnly(paths: [paths[0]], disk: disk())
    try #require(unsafe mkdir(copy + ".partial", 0o700) == 0)
    writeBytes(copy + ".partial/pages.bin", [UInt8](repeating: 7, count: 70_000))
    writeBytes(copy + ".partial/manifest.sqlite.new", [1, 2, 3])
    // Without the mark of a snapshot it is somebody's.
    let refusal = try #require(
      #expect(throws: StorageError.self) { try reader.snapshot(to: copy) })
    #expect("\(refusal)".contains("copy.partial: it is there and no interrupted snapshot"))
    #expect(readBytes(copy + ".partial/manifest.sqlite.new") == [1, 2, 3])
    writeBytes(copy + ".partial/snapshot.lock", [])
    _ = try reader.snapshot(to: copy + "/")
    try expect(try open([copy]))
    // With everything but its name.
    try #require(unsafe rename(copy, copy + ".partial") == 0)
    writeBytes(copy + ".partial/snapshot.lock", [])
    _ = try reader.snapshot(to: copy)
    try expect(try open([copy]))
    #expect(unsafe access(copy + "/snapshot.lock", F_OK) != 0)
    // What fails leaves nothing.
    let file = paths[0] + "/pages.bin"
    var bytes = readBytes(file)
    bytes[reader.place(of: blocks[3]).offset + 5] ^= 1
    writeBytes(file, bytes)
    #expect(throws: StorageError.self) { try reader.snapshot(to: paths[2] + "/bad") }
    #expect(places[2].contents().isEmpty)
  }

  /// Only one process makes a snapshot in a directory.
  @Test func aSnapshotUnderWayIsNotDisturbed() throws {
    try make([paths[0]])
    let copy = paths[1] + "/copy"
    let first = try Store.openReadOnly(paths: [paths[0]], disk: disk())
    let second = try Store.openReadOnly(paths: [paths[0]], disk: disk())
    var refusal: StorageError?
    _ = try first.snapshot(to: copy) { done, total in
      guard refusal == nil else { return }
      do throws(StorageError) { _ = try second.snapshot(to: copy) } catch { refusal = error }
    }
    #expect(refusal?.exitCode == 75)
    try expect(try open([copy]))
  }

  /// What a copy of a store does to its directories does nothing to those of the original.
  @Test func drainingACopyLeavesTheOriginal() throws {
    let two = Array(paths[..<2])
    try make(two)
    let copies = ["a", "b"].map { paths[2] + "/" + $0 }
    for (original, copy) in zip(two, copies) {
      try #require(unsafe mkdir(copy, 0o700) == 0)
      for name in ["pages.bin", "manifest.sqlite"] {
        let bytes = readBytes("\(original)/\(name)")
        if !bytes.isEmpty { writeBytes("\(copy)/\(name)", bytes) }
      }
    }
    try alone(copies).drain(copies[1])
    try expect(try open(copies))
    #expect(unsafe access(copies[1] + "/pages.bin", F_OK) != 0)
    try expect(try open(two))
  }

  /// The drive that is left is mounted where the drained one was.
  @Test func aDriveMayTakeTheNameOfADrainedOne() throws {
    let two = Array(paths[..<2])
    try make(two)
    try alone(two).drain(two[0])
    try #require(unsafe rmdir(two[0]) == 0 && rename(two[1], two[0]) == 0)
    try expect(try open([two[0]]))
    try expect(try alone([two[0]]))
    try expect(try open([two[0], paths[2]]))
    #expect(size(paths[2]) > 0)
  }

  /// However it was and is spelled.
  @Test func aDrainedDirectoryThatIsGoneStaysOut() throws {
    let place = paths[1] + "/drive"
    let link = paths[2] + "/data"
    try #require(unsafe mkdir(place, 0o700) == 0 && symlink(place, link) == 0)
    let named = [paths[0], link + "/b"]
    try make(named)
    try alone(named).drain(named[1])
    _ = unsafe rmdir(place + "/b")
    for spelling in [named[1], place + "/b/", place + "/./b"] {
      try expect(try open([paths[0], spelling]))
      #expect(unsafe access(place + "/b", F_OK) != 0, "\(spelling)")
    }
  }

  @Test func theOnlyDirectoryStays() throws {
    try make([paths[0]])
    let error = try #require(
      #expect(throws: StorageError.self) { try alone([paths[0]]).drain(paths[0]) })
    #expect("\(error)".contains("only directory"))
    try expect(try open([paths[0]]))
  }

  /// A copy made while the original goes on is the generation that was the last when it began.
  @Test func aSnapshotIsAStore() throws {
    try make(Array(paths[..<2]))
    let writer = try open(Array(paths[..<2]))
    let mover = try RecordMover(writer)
    for block in blocks { try mover.write(block, 5) }
    let copy = paths[2] + "/copy"
    let reader = try Store.openReadOnly(paths: Array(paths[..<2]), disk: disk())
    try writer.commit(step: 3, payload: [])
    #expect(try reader.snapshot(to: copy).step == 2)
    #expect(throws: StorageError.self) { try reader.snapshot(to: copy) }
    let store = try open([copy])
    #expect(store.generations.map(\.step) == [2])
    try expect(store)
    #expect(try store.scrub().isWhole)
  }

  /// A further drive, and more generations to keep: files are made longer, records stay.
  @Test func aStoreGrows() throws {
    try make([paths[0]])
    let before = size(paths[0])
    let store = try open(Array(paths[..<2]), keep: 6)
    #expect(size(paths[0]) > before && size(paths[1]) > 0)
    try expect(store)
    let mover = try RecordMover(store)
    for step in 3...6 {
      for block in blocks { try mover.write(block, block.index % 2 == 0 ? 2 : 1) }
      try store.commit(step: step, payload: [])
    }
    #expect(blocks.contains { store.place(of: $0).path.hasPrefix(paths[1]) })
    try expect(store)
  }

  /// One directory fewer than the store has, without a drain, is refused.
  @Test func aDirectoryLeftOutIsNamed() throws {
    try make(Array(paths[..<2]))
    let error = try #require(
      #expect(throws: StorageError.self) { try open([paths[0]]) })
    guard case .directoriesLeftOut = error else { throw error }
    #expect("\(error)".contains(paths[1]) && "\(error)".contains("drain"))
  }

  /// Where a manifest's names lead is checked before anything there is opened.
  @Test func namesThatLeadElsewhereAreRefused() throws {
    for name in ["relative/store", "/tmp/../tmp", "/tmp/.", "", "~/store", paths[0] + "/none/.."] {
      #expect(Store.leadsElsewhere(name), "\(name)")
    }
    #expect(!Store.leadsElsewhere(paths[1]))
    try make(Array(paths[..<2]))
    #expect(try Store.directories(of: paths[0]) == Array(paths[..<2]))
    try #require(unsafe rename(paths[1], paths[2] + "/moved") == 0)
    try #require(unsafe symlink(paths[2] + "/moved", paths[1]) == 0)
    defer { unsafe _ = unlink(paths[1]) }
    let error = try #require(
      #expect(throws: StorageError.self) { try Store.directories(of: paths[0]) })
    guard case .foreign = error else { throw error }
    #expect("\(error)".contains("--store"))
  }
}

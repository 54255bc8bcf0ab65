import Base
import DirectIO
import Foundation
import Glibc
import Kernels
import Paging
import PinnedMemory
import Simulation
import Storage
import TestSupport
import Testing

/// Leaves written in one direction and read in the other, behind and ahead of whoever uses them,
/// beside the visits of records.
@Suite struct ScratchTests {
  static let engines = [EnginePreference.ring, .threads].filter {
    openDisk(preferring: $0).note == nil
  }
  private static let leaves = 7
  private static let scratch = ScratchID(0)
  /// Elements; a page and a part of one.
  private static let count = 1500

  private let six = blocks(6)

  /// - Parameter isEager: whether checksums are taken at once, not when they are wanted.
  private func pager(_ store: Store, frames: Int, isEager: Bool = false) throws -> Pager {
    var pager = try World.pager(store, 3, 3)
    if isEager { pager.offer = { while $0.runOne() {} } }
    _ = try pager.openScratch(
      "leaves", ScratchSize(leaves: Self.leaves, leafBytes: 2 * 4096, frames: frames),
      avoidedBy: "no.scratch=true", ledger: MemoryLedger(ceiling: 1 << 20))
    return pager
  }

  private func content(_ leaf: Int, _ step: Int, _ index: Int) -> Float {
    Float(leaf * 1000 + step * 17) + Float(index) / 4096
  }

  /// A step as training makes it: forward with leaves written, then backward sweeps over them,
  /// records being visited all the while. Leaves are shorter in later steps.
  private func step(
    _ pager: inout Pager, _ step: Int, sweeps: Int = 1, records: Bool = true
  ) throws {
    let count = Self.count - 600 * (step - 1)
    if records { pager.plan(visits(six, .hi)) }
    for leaf in 0..<Self.leaves {
      if records, leaf < six.count { try pager.readNext(version: step - 1) }
      try pager.writeLeaf(leaf, of: Self.scratch, count: count) {
        (span: inout MutableSpan<Float>) in
        for index in span.indices { span[index] = content(leaf, step, index) }
      }
    }
    for sweep in 1...sweeps {
      let isLast = sweep == sweeps
      if records { pager.plan(visits(six.reversed(), isLast ? .all : .hi)) }
      for leaf in (0..<Self.leaves).reversed() {
        var wrong = 0
        try pager.readLeaf(leaf, of: Self.scratch, count: count) { (span: Span<Float>) in
          for index in span.indices where span[index] != content(leaf, step, index) { wrong += 1 }
        }
        #expect(wrong == 0, "leaf \(leaf) of step \(step)")
        guard records, leaf < six.count else { continue }
        if isLast {
          try pager.updateNext(step: step, from: step - 1)
        } else {
          try pager.readNext(version: step - 1)
        }
      }
    }
    if records { try pager.commit(step: step, payload: []) }
  }

  /// Any number of frames, one backward sweep or two, completions in any order.
  @Test(arguments: [1, 2, 3, 5, 6, 7, 9], 1...2)
  func whatIsWrittenIsRead(_ frames: Int, _ sweeps: Int) throws {
    for seed in 1...4 as ClosedRange<UInt64> {
      let world = try World()
      var pager = try pager(world.open(seed: seed), frames: frames, isEager: seed % 2 == 0)
      for number in 1...3 { try step(&pager, number, sweeps: sweeps) }
      let counters = pager.counters
      guard frames < Self.leaves else {
        #expect(counters.scratchBytesRead == 0 && counters.scratchBytesWritten == 0)
        continue
      }
      // Two pages a leaf in the first step, one later. The frames at the turn are read where they
      // are; a second sweep finds them gone.
      let pages = [2, 1, 1].reduce(0, +)
      #expect(counters.scratchBytesWritten == pages * Self.leaves * 4096)
      let read = (Self.leaves - frames) + (sweeps - 1) * Self.leaves
      #expect(counters.scratchBytesRead <= pages * read * 4096)
      #expect(counters.scratchBytesRead >= pages * (read - frames) * 4096)
      #expect(counters.repeatedReads == 0)
    }
  }

  /// Goal: checksums of many pieces, taken by threads that wait while others compute, are those of the
  /// bytes; a pager that goes first waits for who is at one.
  @Test func threadsThatWaitTakeChecksums() throws {
    let (workers, bytes) = (Workers(count: 4), 900 << 10)
    for life in 1...6 as ClosedRange<UInt64> {
      let world = try World()
      var pager = try World.pager(world.open(seed: life), 3, 3)
      pager.forEach = { workers.forEach($0, $1) }
      pager.offer = { workers.offer($0) }
      let scratch = try pager.openScratch(
        "leaves", ScratchSize(leaves: Self.leaves, leafBytes: bytes + 4096, frames: 2),
        avoidedBy: "no.scratch=true", ledger: MemoryLedger(ceiling: 8 << 20))
      for step in 1...4 {
        // The last piece has a page, the others 128 KiB.
        let count = (bytes + (step % 2) * 4096) / 4
        for leaf in 0..<Self.leaves {
          try pager.writeLeaf(leaf, of: scratch, count: count) {
            (span: inout MutableSpan<Float>) in
            for index in span.indices { span[index] = content(leaf, step, index) }
          }
          for _ in 0..<20 { workers.forEach(4) { _ in } }
          pager.pump()
        }
        // Some go in the middle of it.
        if life > 3, step == 4 { break }
        for leaf in (0..<Self.leaves).reversed() {
          var wrong = 0
          try pager.readLeaf(leaf, of: scratch, count: count) { (span: Span<Float>) in
            for index in span.indices where span[index] != content(leaf, step, index) {
              wrong += 1
            }
          }
          #expect(wrong == 0, "leaf \(leaf) of step \(step)")
          for _ in 0..<20 { workers.forEach(4) { _ in } }
        }
      }
      #expect(pager.counters.repeatedReads == 0)
    }
  }

  /// Records are counted as without a scratch.
  @Test func bytesOfRecordsAreCountedApart() throws {
    var counters: [PagerCounters] = []
    for frames in [2, Self.leaves] {
      let world = try World()
      var pager = try pager(world.open(), frames: frames)
      for number in 1...2 { try step(&pager, number) }
      counters.append(pager.counters)
    }
    #expect(counters[0].scratchBytesRead > 0)
    #expect(counters[0].bytesRead == counters[1].bytesRead)
    #expect(counters[0].bytesWritten == counters[1].bytesWritten)
  }

  /// On the real engines, spread over two paths: nothing is in the directories but the store, and
  /// the bytes on the drive are nobody else's.
  @Test(arguments: engines) func theFilesHaveNoName(_ engine: EnginePreference) throws {
    let world = try World()
    let other = try TestDirectory()
    let disk = openDisk(preferring: engine).disk
    let paths = [world.directory.path, other.path]
    // What a process that was killed has left.
    close(unsafe open(other.path + "/scratch.bin", O_CREAT | O_WRONLY, mode_t(0o644)))
    do {
      let store = try Store.open(
        StoreConfiguration(
          paths: paths, identity: "test", geometry: World.geometry, blocks: six.count),
        disk: disk, create: true)
      var pager = try pager(store, frames: 2)
      for path in paths {
        #expect(unsafe access(path + "/scratch.bin", F_OK) != 0)
        let open = try openFiles().filter { $0.path.hasPrefix(path + "/scratch.bin") }
        let file = try #require(open.first)
        #expect(open.count == 1 && file.mode == 0o600 && file.links == 0)
        #expect(file.bytes == 4 * 2 * 4096, "seven leaves over two paths")
      }
      for number in 1...2 { try step(&pager, number, sweeps: 2) }
      disk.close()
    }
    #expect(try openFiles().allSatisfy { !$0.path.hasPrefix(other.path) })
  }

  private struct OpenFile {
    let path: String
    let mode: mode_t
    let links: UInt
    let bytes: Int
  }

  /// Of this process, which has thousands when all tests run.
  private func openFiles() throws -> [OpenFile] {
    let names = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")
    return names.compactMap { Int32($0) }.compactMap { descriptor in
      var name = [CChar](repeating: 0, count: 4096)
      var status = stat()
      let length = unsafe readlink("/proc/self/fd/\(descriptor)", &name, name.count)
      guard length > 0, unsafe fstat(descriptor, &status) == 0 else { return nil }
      let path = name.prefix(length).map { UInt8(bitPattern: $0) }
      return OpenFile(
        path: String(decoding: path, as: UTF8.self), mode: status.st_mode & 0o777,
        links: UInt(status.st_nlink), bytes: Int(status.st_size))
    }
  }
}

// MARK: Faults

extension ScratchTests {
  /// Three steps of the scratch alone, on a disk with `faults`.
  private func run(
    _ world: World, _ faults: [Fault], isEager: Bool = false
  ) throws -> PagerCounters {
    var pager = try pager(world.open(faults: faults), frames: 2, isEager: isEager)
    for number in 1...3 { try step(&pager, number, records: false) }
    return pager.counters
  }

  private func expectNamed(
    _ error: StorageError?, _ remedy: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let error = try #require(error, sourceLocation: sourceLocation)
    guard case .scratch(let failure, _) = error else { throw error }
    #expect(failure.path.hasSuffix("/scratch.bin"), sourceLocation: sourceLocation)
    let place =
      failure.action == .create ? "cannot create" : "at offset \(failure.offset), \(failure.length)"
    for part in [place, remedy, "or with no.scratch=true"] {
      #expect("\(error)".contains(part), "\(error)", sourceLocation: sourceLocation)
    }
  }

  /// The first call of the disk that is the scratch's: the store has been made before.
  private func ready() throws -> (World, firstCall: Int) {
    let world = try World()
    do { _ = try world.open() }
    for number in 1... {
      do {
        _ = try world.open(faults: [.call(number, errno: EIO, isPersistent: false)])
      } catch is StorageError { continue }
      return (world, number)
    }
    preconditionFailure("opening has an end")
  }

  /// Every call fails once, in turn, or from then on: the step ends with an error that names the
  /// scratch, and so does every step after it; or the call was none of the run's.
  @Test(arguments: [(EIO, "the device"), (ENOSPC, "no space"), (ENODEV, "gone")], [false, true])
  func everyCallCanFail(_ fault: (code: Int32, remedy: String), isPersistent: Bool) throws {
    let (world, first) = try ready()
    for number in first...first + 200 {
      do {
        _ = try run(world, [.call(number, errno: fault.code, isPersistent: isPersistent)])
      } catch let error as StorageError {
        try expectNamed(error, fault.remedy)
        #expect(error.exitCode == (number == first ? 73 : 74))
        continue
      }
      #expect(number > first + 30)
      return
    }
    Issue.record("200 failures and no run without one")
  }

  @Test func noRoomIsRefusedAtTheStart() throws {
    let (world, _) = try ready()
    let store = try world.open(faults: [.noSpace(create: 1)])
    let error = #expect(throws: StorageError.self) { _ = try pager(store, frames: 2) }
    try expectNamed(error, "no space left")
    #expect(error?.exitCode == 73)
    // With a frame for each leaf there is no file.
    _ = try pager(store, frames: Self.leaves)
  }

  @Test func errorsThatGoAwayAreRetried() throws {
    for transfer in stride(from: 2, through: 30, by: 3) {
      let (world, _) = try ready()
      let fault = Fault.transient(transfer: transfer, times: Request.errorsAllowed)
      _ = try run(world, [fault])
    }
  }

  /// A bit flipped on the way is read again; a write that never arrived is found.
  @Test(arguments: [false, true]) func wrongBytesAreNeverUsed(isEager: Bool) throws {
    var repeated = 0
    for read in 1...20 {
      let (world, _) = try ready()
      repeated += try run(world, [.bitFlip(read: read)], isEager: isEager).repeatedReads
    }
    #expect(repeated >= 10)
    var found = 0
    for write in 1...10 {
      let (world, _) = try ready()
      do {
        _ = try run(world, [.lostWrite(write: write)], isEager: isEager)
      } catch let error as StorageError {
        try expectNamed(error, "twice it gave other bytes than were written")
        #expect(error.exitCode == 74)
        found += 1
      }
    }
    #expect(found >= 5)
  }

  /// On the real engines: a drive that fills up cannot take what was promised before.
  @Test(
    .enabled(if: PrivateFileSystem.driveIsPossible, "loop devices take root"), arguments: engines)
  func aDriveThatFillsUpEndsTheStep(_ engine: EnginePreference) throws {
    let (world, drive) = (try World(), try PrivateFileSystem.drive())
    let store = try Store.open(
      StoreConfiguration(
        paths: [world.directory.path, drive.path], identity: "test", geometry: World.geometry,
        blocks: six.count),
      disk: openDisk(preferring: engine).disk, create: true)
    var pager = try pager(store, frames: 2)
    try drive.fill()
    let error = #expect(throws: StorageError.self) {
      try step(&pager, 1, records: false)
    }
    try expectNamed(error, "no space left on the device")
  }
}

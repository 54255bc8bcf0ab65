import DirectIO
import Glibc
import PinnedMemory
import Simulation
import Testing

@Suite struct FaultTests {
  let medium = SimulatedMedium(seed: 3)

  private func disk(_ faults: Fault...) throws -> (SimulatedDisk, DiskFile) {
    let disk = SimulatedDisk(medium, seed: 1, faults: faults)
    return (disk, try disk.openFile("/a", byteCount: 4 * 4096, .create))
  }

  /// A job of five calls fails at the n-th for n = 1...5 and passes at 6: every call has its turn.
  @Test func everyCallCanFail() {
    func job(_ disk: SimulatedDisk) throws {
      let file = try disk.openFile("/a", byteCount: 8192, .create)
      let memory = Memory(pages: 1)
      for page in 0..<2 {
        if let failure = disk.perform(.write, file, page: page, memory) { throw failure }
      }
      try disk.sync(file)
      if let failure = disk.perform(.read, file, page: 0, memory) { throw failure }
    }
    for number in 1...6 {
      let fault = Fault.call(number, errno: EIO, isPersistent: false)
      let disk = SimulatedDisk(SimulatedMedium(seed: 0), seed: 1, faults: [fault])
      let failure = Result { try job(disk) }
      if number <= 5 {
        #expect(throws: DiskError.self) { try failure.get() }
      } else {
        #expect(throws: Never.self) { try failure.get() }
      }
    }
  }

  @Test func persistentFaultsPersist() throws {
    let (disk, file) = try disk(.call(2, errno: ENODEV, isPersistent: true))
    for _ in 0..<3 {
      #expect(disk.perform(.write, file, page: 0, Memory(pages: 1))?.code == ENODEV)
    }
    #expect(throws: DiskError.self) { try disk.sync(file) }
  }

  @Test func transientErrorsAreRetriedThreeTimes() throws {
    let (disk, file) = try disk(
      .transient(transfer: 1, times: 3), .transient(transfer: 2, times: 4))
    #expect(disk.perform(.write, file, page: 0, Memory(pages: 1)) == nil)
    #expect(disk.counters.retries == 3)
    #expect(disk.perform(.write, file, page: 0, Memory(pages: 1))?.code == EIO)
  }

  @Test func aFlippedBitIsOneBit() throws {
    let (disk, file) = try disk(.bitFlip(read: 2))
    let memory = Memory(pages: 4)
    let ones = { memory.bytes.reduce(0) { $0 + $1.nonzeroBitCount } }
    for expected in [0, 1, 0] {
      #expect(disk.perform(.read, file, page: 0, memory) == nil)
      #expect(ones() == expected)
    }
    medium.flipBit(of: "/a", byte: 5000, bit: 3)
    #expect(disk.perform(.read, file, page: 0, memory) == nil)
    #expect(memory.bytes[5000] == 8 && ones() == 1)
  }

  @Test func aLostWriteIsAcknowledged() throws {
    let (disk, file) = try disk(.lostWrite(write: 1))
    #expect(disk.perform(.write, file, page: 0, Memory(pages: 1, filledWith: 9)) == nil)
    #expect(medium.contents(of: "/a")?.contains(9) == false)
  }

  @Test func creationFailsWithoutSpace() throws {
    let (disk, _) = try disk(.noSpace(create: 2))
    let planned = #expect(throws: DiskError.self) {
      try disk.openFile("/b", byteCount: 4096, .create)
    }
    #expect(planned?.code == ENOSPC)
    let small = SimulatedDisk(SimulatedMedium(seed: 0, capacityBytes: 10_000), seed: 0)
    #expect(throws: Never.self) { try small.openFile("/a", byteCount: 8192, .create) }
    let full = #expect(throws: DiskError.self) {
      try small.openFile("/b", byteCount: 4096, .create)
    }
    #expect(full?.code == ENOSPC && full?.action == .create)
  }
  /// However the disk ends, what it had without a name is gone from the medium.
  @Test func scratchFilesGoWithTheDisk() throws {
    for end in [{ $0.close() }, { $0.kill() }, { $0.crash() }] as [(SimulatedDisk) -> Void] {
      let medium = SimulatedMedium(seed: 0)
      let disk = SimulatedDisk(medium, seed: 1, faults: [.noSpace(create: 4)])
      _ = try disk.openFile("/a", byteCount: 4096, .create)
      _ = try disk.openFile("/s", byteCount: 8192, .scratch)
      let file = try disk.openFile("/s", byteCount: 4096, .scratch)
      #expect(disk.perform(.write, file, page: 0, Memory(pages: 1, filledWith: 9)) == nil)
      let full = #expect(throws: DiskError.self) {
        try disk.openFile("/t", byteCount: 4096, .scratch)
      }
      #expect(full?.code == ENOSPC && full?.action == .create)
      end(disk)
      #expect(medium.paths == ["/a"])
    }
  }
}

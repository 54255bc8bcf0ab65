import DirectIO
import Glibc
import PinnedMemory
import Simulation
import Testing

@Suite struct SimulatedMediumTests {
  /// The file after: page 0 synced as 1, then 64 pages written as 2 and a crash.
  private func contentsAfterCrash(seed: UInt64) throws -> [UInt8] {
    let medium = SimulatedMedium(seed: seed)
    let disk = SimulatedDisk(medium, seed: 1)
    let file = try disk.openFile("/a", byteCount: 64 * 4096, .create)
    let (ones, twos) = (Memory(pages: 64, filledWith: 1), Memory(pages: 1, filledWith: 2))
    #expect(disk.perform(.write, file, page: 0, ones) == nil)
    try disk.sync(file)
    for page in 0..<64 { #expect(disk.perform(.write, file, page: page, twos) == nil) }
    #expect(medium.contents(of: "/a")?.allSatisfy { $0 == 2 } == true)

    disk.crash()

    let restarted = SimulatedDisk(medium, seed: 2)
    let again = try restarted.openFile("/a", byteCount: 64 * 4096, .readWrite)
    let read = Memory(pages: 64)
    #expect(restarted.perform(.read, again, page: 0, read) == nil)
    #expect(read.bytes == medium.contents(of: "/a"))
    return read.bytes
  }

  /// Unsynced writes are lost, whole or torn, all three; sectors of 512 bytes are never torn.
  @Test func crashesLoseAndTearWhatIsUnsynced() throws {
    let bytes = try contentsAfterCrash(seed: 11)
    let sectors = (0..<bytes.count / 512).map { bytes[$0 * 512..<$0 * 512 + 512] }
    #expect(sectors.allSatisfy { sector in sector.allSatisfy { $0 == sector.first } })
    let values = sectors.map { $0.first! }
    let pages = (0..<64).map { Set(values[$0 * 8..<$0 * 8 + 8]) }
    for fate in [Set<UInt8>([1]), [2], [1, 2]] { #expect(pages.contains(fate)) }
  }

  @Test func crashesAreSeeded() throws {
    #expect(try contentsAfterCrash(seed: 11) == contentsAfterCrash(seed: 11))
    #expect(try contentsAfterCrash(seed: 11) != contentsAfterCrash(seed: 12))
  }

  @Test func syncedWritesSurvive() throws {
    let medium = SimulatedMedium(seed: 4)
    let disk = SimulatedDisk(medium, seed: 1)
    let file = try disk.openFile("/a", byteCount: 8 * 4096, .create)
    #expect(disk.perform(.write, file, page: 0, Memory(pages: 8, filledWith: 5)) == nil)
    try disk.sync(file)
    disk.crash()
    #expect(medium.crashes == 1)
    #expect(medium.contents(of: "/a")?.allSatisfy { $0 == 5 } == true)
  }

  /// A later sync makes nothing durable that an earlier one has failed to.
  @Test func aFailedSyncIsForgotten() throws {
    var survived: Set<Bool> = []
    for seed in 1...20 {
      let medium = SimulatedMedium(seed: UInt64(seed))
      let disk = SimulatedDisk(medium, seed: 1, faults: [.call(3, errno: EIO, isPersistent: false)])
      let file = try disk.openFile("/a", byteCount: 4096, .create)
      #expect(disk.perform(.write, file, page: 0, Memory(pages: 1, filledWith: 5)) == nil)
      #expect(throws: DiskError.self) { try disk.sync(file) }
      try disk.sync(file)
      #expect(medium.contents(of: "/a")?.allSatisfy { $0 == 5 } == true)
      disk.crash()
      survived.insert(medium.contents(of: "/a")?.allSatisfy { $0 == 5 } == true)
    }
    #expect(survived == [true, false])
  }

  /// What was in flight when the power failed may or may not have arrived.
  @Test func writesInFlightAreUnsynced() throws {
    var outcomes: Set<Bool> = []
    for seed in 0..<20 {
      let medium = SimulatedMedium(seed: UInt64(seed))
      let disk = SimulatedDisk(medium, seed: 1)
      let file = try disk.openFile("/a", byteCount: 4096, .create)
      let memory = Memory(pages: 1, filledWith: 5)
      disk.submit(Transfer(.write, file, offset: 0, memory: memory.slice, tag: 0))
      disk.crash()
      outcomes.insert(medium.contents(of: "/a")?.contains(5) == true)
    }
    #expect(outcomes == [true, false])
  }
}

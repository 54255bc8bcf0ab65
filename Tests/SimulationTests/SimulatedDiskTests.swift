import DirectIO
import Glibc
import PinnedMemory
import Simulation
import Testing

@Suite struct SimulatedDiskTests {
  let medium = SimulatedMedium(seed: 3)

  @Test func whatIsWrittenIsRead() throws {
    let disk = SimulatedDisk(medium, seed: 1)
    let file = try disk.openFile("/a", byteCount: 4 * 4096, .create)
    let (written, read) = (Memory(pages: 2, filledWith: 7), Memory(pages: 2))
    #expect(disk.perform(.write, file, page: 1, written) == nil)
    #expect(disk.perform(.read, file, page: 1, read) == nil)
    #expect(read.bytes == written.bytes)
    #expect(disk.counters.bytesRead == 8192 && disk.counters.bytesWritten == 8192)
  }

  /// The order in which `count` writes end.
  private func order(seed: UInt64, count: Int) throws -> [UInt64] {
    let disk = SimulatedDisk(SimulatedMedium(seed: 0), seed: seed)
    let file = try disk.openFile("/a", byteCount: count * 4096, .create)
    let memory = Memory(pages: 1)
    for tag in 0..<count {
      disk.submit(
        Transfer(.write, file, offset: tag * 4096, memory: memory.slice, tag: UInt64(tag)))
    }
    var tags: [UInt64] = []
    while let completion = disk.nextCompletion(wait: true) { tags.append(completion.tag) }
    return tags
  }

  @Test func orderIsASeededPermutation() throws {
    let tags = try order(seed: 5, count: 20)
    #expect(tags.sorted() == (0..<20).map { UInt64($0) })
    #expect(tags != tags.sorted())
    #expect(try order(seed: 5, count: 20) == tags)
    #expect(try order(seed: 6, count: 20) != tags)
  }

  @Test func pollingIsLateButEnds() throws {
    let disk = SimulatedDisk(medium, seed: 2, reapsLateMax: 50)
    let file = try disk.openFile("/a", byteCount: 8 * 4096, .create)
    let memory = Memory(pages: 1)
    for page in 0..<8 {
      disk.submit(Transfer(.write, file, offset: page * 4096, memory: memory.slice, tag: 0))
    }
    var (empty, finished) = (0, 0)
    while disk.inFlight > 0 {
      if disk.nextCompletion(wait: false) == nil { empty += 1 } else { finished += 1 }
      try #require(empty < 100)
    }
    #expect(finished == 8 && empty > 0)
  }

  @Test func aReadPastTheEndFails() throws {
    let disk = SimulatedDisk(medium, seed: 1)
    let file = try disk.openFile("/a", byteCount: 2 * 4096, .create)
    medium.truncate("/a", to: 5000)
    let failure = try #require(disk.perform(.read, file, page: 0, Memory(pages: 2)))
    #expect(failure.description.contains("the file ends at 5000"))
    #expect(throws: DiskError.self) {
      try SimulatedDisk(medium, seed: 1).openFile("/a", byteCount: 8192, .readOnly)
    }
  }

  @Test func overlapsTrap() async {
    await #expect(processExitsWith: .failure) {
      let disk = SimulatedDisk(SimulatedMedium(seed: 1), seed: 1)
      let file = try disk.openFile("/a", byteCount: 8192, .create)
      let memory = Memory(pages: 2)
      disk.submit(Transfer(.write, file, offset: 0, memory: memory.slice, tag: 0))
      disk.submit(Transfer(.read, file, offset: 4096, memory: Memory(pages: 1).slice, tag: 1))
    }
  }

  @Test func memoryChangedWhileWrittenTraps() async {
    await #expect(processExitsWith: .failure) {
      let disk = SimulatedDisk(SimulatedMedium(seed: 1), seed: 1)
      let file = try disk.openFile("/a", byteCount: 8192, .create)
      let memory = Memory(pages: 2)
      disk.submit(Transfer(.write, file, offset: 0, memory: memory.slice, tag: 0))
      memory.fill(1)
      _ = disk.nextCompletion(wait: true)
    }
  }
}

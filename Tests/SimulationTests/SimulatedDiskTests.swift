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

  /// Work given away is done later, on the same thread, and once.
  @Test func errandsAreDoneWhenSomebodyLooks() throws {
    let disk = SimulatedDisk(medium, seed: 3, reapsLateMax: 4)
    nonisolated(unsafe) var done = 0
    var looks: Set<Int> = []
    for number in 1...20 {
      let errand = disk.runBeside { unsafe done += 1 }
      #expect(unsafe done == number - 1)
      var count = 1
      while !errand.isDone { count += 1 }
      errand.wait()
      #expect(unsafe done == number)
      looks.insert(count)
    }
    #expect(looks.count > 5 && looks.max()! <= 33)
    disk.runBeside { unsafe done += 1 }.wait()
    _ = disk.runBeside { unsafe done += 1 }
    #expect(unsafe done == 22)
  }

  /// From the last operation on nothing succeeds, and what was in flight counts as unsynced.
  @Test func theDeadDoNothing() throws {
    let lifespan = Lifespan()
    let disk = SimulatedDisk(medium, seed: 1, lifespan: lifespan)
    let file = try disk.openFile("/a", byteCount: 8192, .create)
    lifespan.end(after: 1)
    #expect(disk.perform(.write, file, page: 0, Memory(pages: 1, filledWith: 1)) == nil)
    #expect(disk.perform(.write, file, page: 1, Memory(pages: 1, filledWith: 1))?.code == ENODEV)
    #expect(throws: DiskError.self) { try disk.sync(file) }
    #expect(throws: DiskError.self) { try disk.openFile("/b", byteCount: 4096, .create) }
    #expect(lifespan.hasEnded)
    disk.kill()
    #expect(medium.contents(of: "/a") == [UInt8](repeating: 1, count: 4096) + zeros(4096))
  }

  private func zeros(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: count) }

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

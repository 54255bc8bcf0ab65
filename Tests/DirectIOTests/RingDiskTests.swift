import DirectIO
import Glibc
import PinnedMemory
import Testing

/// What only the ring has; without effect where the machine refuses one.
@Suite(.enabled(if: Engine.present.contains(.ring))) struct RingDiskTests {
  let scratch = Scratch()

  /// Memory registered in full, in part and not at all is all the same to transfers.
  @Test(arguments: [0, 3, 8])
  func registrationChangesNothing(_ registeredPages: Int) throws {
    let disk = PathDisk<Ring>(
      DiskSettings(standard: PathSettings(requestBytes: 2 * 4096, queueDepth: 4)))
    let (written, read) = (Memory(pages: 8), Memory(pages: 8))
    written.fill(version: 8)
    for memory in [written, read] where registeredPages > 0 {
      disk.register(memory.pages(0..<registeredPages))
    }
    #expect(disk.registeredBytes <= 2 * registeredPages * 4096)

    let file = try disk.openFile(scratch.file("a"), byteCount: 8 * 4096, .create)
    #expect(disk.perform(.write, file, offset: 0, written.slice) == nil)
    #expect(disk.perform(.read, file, offset: 0, read.slice) == nil)
    #expect(read.equals(written))
  }

  /// Memory that went and came again at the same address is other memory: a ring that still knew
  /// the old pages would fill them.
  @Test func unregisteredMemoryIsForgotten() throws {
    let disk = PathDisk<Ring>(DiskSettings(standard: PathSettings(queueDepth: 4)))
    let file = try disk.openFile(scratch.file("a"), byteCount: 4 * 4096, .create)
    let written = Memory(pages: 4)
    written.fill(version: 3)
    #expect(disk.perform(.write, file, offset: 0, written.slice) == nil)
    for _ in 0..<3 {
      let start = unsafe mmap(
        UnsafeMutableRawPointer(bitPattern: 0x5000_0000_0000), 4 * 4096, PROT_READ | PROT_WRITE,
        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)
      let memory = unsafe PinnedSlice(address: try #require(start), byteCount: 4 * 4096)
      disk.register(memory)
      #expect(disk.registeredBytes <= 4 * 4096)
      #expect(disk.perform(.read, file, offset: 0, memory) == nil)
      #expect(unsafe memcmp(memory.address, written.slice.address, memory.byteCount) == 0)
      disk.unregister(memory)
      #expect(disk.registeredBytes == 0)
      unsafe _ = munmap(memory.address, memory.byteCount)
    }
  }

  /// Requests that are answered while they are submitted, one at a time, however the ring is set up.
  @Test(
    .enabled(if: unsafe access("/dev/shm", W_OK) == 0), arguments: RingFacts.probe().modes)
  func everyModeTakesRequestsThatEndAtOnce(_ mode: RingMode) throws {
    let path = "/dev/shm/pagoda-test-\(getpid())-\(mode)"
    let disk = PathDisk<Ring>(
      DiskSettings(ringMode: mode, standard: PathSettings(requestBytes: 4096, queueDepth: 1)))
    let file = try disk.openFile(path, byteCount: 4096, .create)
    unsafe _ = unlink(path)
    let memory = Memory(pages: 1)
    for _ in 0..<3000 {
      try #require(disk.perform(.write, file, offset: 0, memory.slice) == nil)
      try #require(disk.perform(.read, file, offset: 0, memory.slice) == nil)
    }
    #expect(disk.counters.requests == 6000)
  }

  /// Closing gives every descriptor back, the disk still being there.
  @Test func closedDisksHoldNoFiles() throws {
    let disk = PathDisk<Ring>()
    _ = try disk.openFile(scratch.file("a"), byteCount: 4096, .create)
    #expect(openDescriptors(of: scratch.file("a")) == 1)
    disk.close()
    #expect(openDescriptors(of: scratch.file("a")) == 0)
  }
}

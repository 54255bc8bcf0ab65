import DirectIO
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

  /// Closing gives every descriptor back, the disk still being there.
  @Test func closedDisksHoldNoFiles() throws {
    let disk = PathDisk<Ring>()
    _ = try disk.openFile(scratch.file("a"), byteCount: 4096, .create)
    #expect(openDescriptors(of: scratch.file("a")) == 1)
    disk.close()
    #expect(openDescriptors(of: scratch.file("a")) == 0)
  }
}

import DirectIO
import Glibc
import PinnedMemory
import Testing

/// What every real engine promises; the same tests for each.
@Suite struct DiskTests {
  let scratch = Scratch()

  /// Lengths around the request size, so that first, middle and last pieces all occur.
  @Test(arguments: Engine.present, [1, 2, 3, 4, 6, 7, 9])
  func whatIsWrittenIsRead(_ engine: Engine, _ pages: Int) throws {
    let disk = engine.disk(depth: 2, requestPages: 3)
    let (written, read) = (Memory(pages: pages), Memory(pages: pages))
    written.fill(version: 1)
    disk.register(written.slice)
    disk.register(read.slice)
    let file = try disk.openFile(scratch.file("a"), byteCount: 16 * 4096, .create)

    #expect(disk.perform(.write, file, offset: 5 * 4096, written.slice) == nil)
    #expect(disk.perform(.read, file, offset: 5 * 4096, read.slice) == nil)

    #expect(read.equals(written))
    #expect(disk.counters.bytesWritten == pages * 4096)
    #expect(disk.counters.bytesRead == pages * 4096)
    #expect(disk.counters.requests == 2 * ((pages + 2) / 3))
    #expect(disk.inFlight == 0)
  }

  /// Far more transfers than fit the queue, over several files, in any order of completion; each
  /// completion comes once.
  @Test(arguments: Engine.present)
  func manyTransfersPassASmallQueue(_ engine: Engine) throws {
    let disk = engine.disk(depth: 4, requestPages: 1)
    let (written, read) = (Memory(pages: 300), Memory(pages: 300))
    written.fill(version: 2)
    let files = try (0..<3).map {
      try disk.openFile(scratch.file("f\($0)"), byteCount: 100 * 4096, .create)
    }
    for kind in [Transfer.Kind.write, .read] {
      let memory = kind == .write ? written : read
      for tag in 0..<60 {
        let offset = tag / 3 * 5 * 4096
        let slice = memory.pages(tag * 5..<tag * 5 + 5)
        disk.submit(
          Transfer(kind, files[tag % 3], offset: offset, memory: slice, tag: UInt64(tag)))
      }
      #expect(disk.inFlight == 60)
      var seen: Set<UInt64> = []
      while let completion = disk.nextCompletion(wait: true) {
        #expect(completion.failure == nil)
        #expect(seen.insert(completion.tag).inserted)
      }
      #expect(seen.count == 60)
    }
    #expect(read.equals(written))
  }

  /// The owner may compute between submit and reap: polling alone finishes everything.
  @Test(arguments: Engine.present)
  func pollingFinishes(_ engine: Engine) throws {
    let disk = engine.disk(depth: 2, requestPages: 1)
    let memory = Memory(pages: 16)
    memory.fill(version: 3)
    let file = try disk.openFile(scratch.file("a"), byteCount: 16 * 4096, .create)
    disk.submit(Transfer(.write, file, offset: 0, memory: memory.slice, tag: 9))
    var completion = disk.nextCompletion(wait: false)
    while completion == nil { completion = disk.nextCompletion(wait: false) }
    #expect(completion?.tag == 9 && completion?.failure == nil)
    #expect(disk.nextCompletion(wait: false) == nil)
    #expect(disk.nextCompletion(wait: true) == nil)
  }

  @Test(arguments: Engine.present)
  func contentsSurviveReopening(_ engine: Engine) throws {
    let (written, read) = (Memory(pages: 5), Memory(pages: 5))
    written.fill(version: 4)
    let first = engine.disk()
    let file = try first.openFile(scratch.file("a"), byteCount: 5 * 4096, .create)
    #expect(first.perform(.write, file, offset: 0, written.slice) == nil)
    try first.sync(file)
    #expect(first.counters.syncs == 1)
    first.close()

    for mode in [OpenMode.readWrite, .readOnly] {
      let second = engine.disk()
      let again = try second.openFile(scratch.file("a"), byteCount: 5 * 4096, mode)
      #expect(second.path(of: again) == scratch.file("a"))
      read.clear()
      #expect(second.perform(.read, again, offset: 0, read.slice) == nil)
      #expect(read.equals(written))
    }
  }

  /// A file for what nobody needs after the disk has no name from the start, replaces what a killed
  /// process has left under its own, and gives its room back with the disk; one that does not fit
  /// leaves nothing.
  @Test(arguments: Engine.present)
  func aScratchFileHasNoName(_ engine: Engine) throws {
    let (written, read) = (Memory(pages: 3), Memory(pages: 3))
    written.fill(version: 6)
    let path = scratch.file("a")
    close(unsafe open(path, O_CREAT | O_WRONLY, mode_t(0o644)))
    let disk = engine.disk()
    let file = try disk.openFile(path, byteCount: 8 * 4096, .scratch)
    #expect(scratch.names.isEmpty && disk.path(of: file) == path)
    #expect(disk.perform(.write, file, offset: 4 * 4096, written.slice) == nil)
    #expect(disk.perform(.read, file, offset: 4 * 4096, read.slice) == nil)
    #expect(read.equals(written))
    let error = #expect(throws: DiskError.self) {
      try disk.openFile(scratch.file("b"), byteCount: 1 << 50, .scratch)
    }
    #expect(error?.action == .create && error?.code == ENOSPC)
    #expect(scratch.names.isEmpty)
    #expect(openDescriptors(of: path + " (deleted)") == 1)
    disk.close()
    #expect(openDescriptors(of: path + " (deleted)") == 0)
  }

  /// Closing waits for what is under way: nothing is written into memory afterwards, nothing is
  /// lost.
  @Test(arguments: Engine.present)
  func closingWaits(_ engine: Engine) throws {
    let (written, read) = (Memory(pages: 64), Memory(pages: 64))
    written.fill(version: 5)
    let disk = engine.disk(depth: 2, requestPages: 1)
    let file = try disk.openFile(scratch.file("a"), byteCount: 64 * 4096, .create)
    disk.submit(Transfer(.write, file, offset: 0, memory: written.slice, tag: 0))
    disk.close()
    #expect(disk.inFlight == 0)

    let second = engine.disk()
    let again = try second.openFile(scratch.file("a"), byteCount: 64 * 4096, .readOnly)
    #expect(second.perform(.read, again, offset: 0, read.slice) == nil)
    #expect(read.equals(written))
  }
}

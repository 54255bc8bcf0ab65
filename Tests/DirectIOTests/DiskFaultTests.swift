import DirectIO
import Glibc
import PinnedMemory
import Testing

/// What the real engines say when the world is not as it should be.
@Suite struct DiskFaultTests {
  let scratch = Scratch()

  /// A file cut behind the disk's back: within a block, at a block, wholly.
  @Test(arguments: Engine.present, [0, 4096, 4096 * 3 + 100, 4096 * 5])
  func readingPastTheEndNamesTheEnd(_ engine: Engine, _ byteCount: Int) throws {
    let disk = engine.disk(requestPages: 2)
    let memory = Memory(pages: 6)
    let path = scratch.file("cut")
    let file = try disk.openFile(path, byteCount: 6 * 4096, .create)
    #expect(unsafe truncate(path, byteCount) == 0)
    let failure = try #require(disk.perform(.read, file, offset: 0, memory.slice))
    #expect(failure.action == .read && failure.path == path)
    #expect(failure.length > 0)
    #expect(failure.description.contains("the file ends at"))
    #expect(disk.inFlight == 0)
  }

  @Test(arguments: Engine.present)
  func aShortFileIsRefusedWithBothSizes(_ engine: Engine) throws {
    let path = scratch.file("short")
    try engine.disk().openFile(path, byteCount: 8192, .create).discard()
    let failure = #expect(throws: DiskError.self) {
      try engine.disk().openFile(path, byteCount: 12288, .readWrite)
    }
    #expect(failure?.description.contains("8192") == true)
    #expect(failure?.description.contains("12288") == true)
  }

  @Test(arguments: Engine.present)
  func filesAreNeitherOverwrittenNorFollowed(_ engine: Engine) throws {
    let disk = engine.disk()
    let path = scratch.file("a")
    try disk.openFile(path, byteCount: 4096, .create).discard()
    let exists = #expect(throws: DiskError.self) {
      try disk.openFile(path, byteCount: 4096, .create)
    }
    #expect(exists?.code == EEXIST && exists?.action == .create)
    #expect(unsafe symlink(path, scratch.file("link")) == 0)
    let followed = #expect(throws: DiskError.self) {
      try disk.openFile(scratch.file("link"), byteCount: 4096, .readOnly)
    }
    #expect(followed?.code == ELOOP)
    let missing = #expect(throws: DiskError.self) {
      try disk.openFile(scratch.file("none"), byteCount: 4096, .readOnly)
    }
    #expect(missing?.code == ENOENT)
    let directory = #expect(throws: DiskError.self) {
      try disk.openFile(scratch.path, byteCount: 0, .readOnly)
    }
    #expect(directory?.description.contains("not a regular file") == true)
  }

  @Test(arguments: Engine.present)
  func newFilesArePrivateAndWhole(_ engine: Engine) throws {
    let path = scratch.file("a")
    try engine.disk().openFile(path, byteCount: 3 * 4096, .create).discard()
    var status = stat()
    #expect(unsafe stat(path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
    #expect(status.st_size == 3 * 4096)
    #expect(Int(status.st_blocks) * 512 >= 3 * 4096, "the blocks are there, not only the size")
  }

  /// More than any device has: an error that says so, and no file left behind.
  @Test(arguments: Engine.present)
  func aFileThatDoesNotFitIsRemovedAgain(_ engine: Engine) throws {
    let failure = #expect(throws: DiskError.self) {
      try engine.disk().openFile(scratch.file("huge"), byteCount: 1 << 60, .create)
    }
    #expect(failure?.code == ENOSPC && failure?.description.contains("are free") == true)
    #expect(failure?.length == 1 << 60)
    #expect(scratch.names.isEmpty)
  }

  /// Where the cache cannot be bypassed, the disk says so and works.
  @Test(.enabled(if: unsafe access("/dev/shm", W_OK) == 0), arguments: Engine.present)
  func memoryFileSystemsWork(_ engine: Engine) throws {
    let path = "/dev/shm/pagoda-test-\(getpid())-\(engine)"
    let disk = engine.disk(requestPages: 2)
    let file = try disk.openFile(path, byteCount: 5 * 4096, .create)
    defer { unsafe _ = unlink(path) }
    let (written, read) = (Memory(pages: 5), Memory(pages: 5))
    written.fill(version: 6)
    #expect(!disk.isDirect(file))
    #expect(disk.perform(.write, file, offset: 0, written.slice) == nil)
    #expect(disk.perform(.read, file, offset: 0, read.slice) == nil)
    #expect(read.equals(written))
  }

  @Test func writingToAReadOnlyFileTraps() async {
    await #expect(processExitsWith: .signal(SIGILL)) {
      let scratch = Scratch()
      let disk = Engine.threads.disk()
      try disk.openFile(scratch.file("a"), byteCount: 4096, .create).discard()
      let file = try disk.openFile(scratch.file("a"), byteCount: 4096, .readOnly)
      scratch.remove()
      let memory = Memory(pages: 1)
      withExtendedLifetime(memory) {
        _ = disk.perform(.write, file, offset: 0, memory.slice)
      }
    }
  }

  @Test func misalignedTransfersTrap() async {
    await #expect(processExitsWith: .signal(SIGILL)) {
      let scratch = Scratch()
      let disk = Engine.threads.disk()
      let file = try disk.openFile(scratch.file("a"), byteCount: 8192, .create)
      scratch.remove()
      let memory = Memory(pages: 1)
      withExtendedLifetime(memory) {
        _ = disk.perform(.read, file, offset: 100, memory.slice)
      }
    }
  }

  /// What the drive asks for, not a constant, decides which offsets are allowed.
  @Test(arguments: Engine.present)
  func alignmentIsTheDrives(_ engine: Engine) throws {
    let disk = engine.disk()
    let file = try disk.openFile(scratch.file("a"), byteCount: 8192, .create)
    let unit = disk.alignment(of: file)
    #expect(unit == directAlignment(of: scratch.file("a")))
    let memory = Memory(pages: 1)
    withExtendedLifetime(memory) {
      #expect(disk.perform(.read, file, offset: unit, memory.slice) == nil)
    }
  }
}

/// As the kernel gives it, asked without the engine; 1 where files are not direct.
private func directAlignment(of path: String) -> Int {
  var facts = statx()
  let asked = unsafe statx(AT_FDCWD, path, 0, UInt32(STATX_DIOALIGN), &facts)
  guard asked == 0, facts.stx_mask & UInt32(STATX_DIOALIGN) != 0 else { return 4096 }
  return facts.stx_dio_offset_align == 0 ? 1 : Int(facts.stx_dio_offset_align)
}

extension DiskFile {
  func discard() {}
}

import DirectIO
import Glibc
import PinnedMemory
import TestSupport
import Testing

/// The fault table of transfers, on the real engines: what swapping systems are known to get wrong,
/// row by row. Every row ends in success or in an error that names file, place and cause.
///
/// The same through a simulated disk, for whole records, is `FaultTableTests` of Paging; for whole
/// runs, of the process tests. Answers that only a script can give (partial, interrupted, refused)
/// are in `RequestTests`, `TroubledDiskTests` and `PathDiskTests`.
@Suite("Fault table: transfers") struct FaultTableTests {
  let scratch = Scratch()

  // MARK: No room

  @Test("A new file larger than the device", arguments: Engine.present)
  func aFileThatDoesNotFitIsRemovedAgain(_ engine: Engine) throws {
    let failure = #expect(throws: DiskError.self) {
      try engine.disk().openFile(scratch.file("huge"), byteCount: 1 << 60, .create)
    }
    #expect(failure?.code == ENOSPC && failure?.description.contains("are free") == true)
    #expect(failure?.length == 1 << 60)
    #expect(scratch.names.isEmpty)
  }

  /// The blocks were promised, and the drive cannot keep the promise.
  @Test(
    "A write into a full drive",
    .enabled(if: PrivateFileSystem.driveIsPossible, "loop devices take root"),
    arguments: Engine.present)
  func aFullDriveIsNamedAndWritesAgainWhenThereIsRoom(_ engine: Engine) throws {
    let drive = try PrivateFileSystem.drive()
    let disk = engine.disk(requestPages: 16)
    let (before, after, read) = (Memory(pages: 16), Memory(pages: 512), Memory(pages: 512))
    before.fill(version: 1)
    after.fill(version: 2)
    let path = drive.path + "/data"
    let file = try disk.openFile(path, byteCount: 528 * 4096, .create)
    #expect(disk.perform(.write, file, offset: 0, before.slice) == nil)
    try drive.fill()
    let failure = try #require(disk.perform(.write, file, offset: 16 * 4096, after.slice))
    #expect(failure.action == .write && failure.code == ENOSPC && failure.path == path)
    #expect(failure.offset >= 16 * 4096 && failure.length > 0)
    #expect(failure.description.contains("no space left on the device; free some"))
    #expect(disk.perform(.read, file, offset: 0, read.pages(0..<16)) == nil)
    #expect(read.equals(before, pages: 0..<16))

    drive.clear()
    #expect(disk.perform(.write, file, offset: 16 * 4096, after.slice) == nil)
    #expect(disk.perform(.read, file, offset: 16 * 4096, read.slice) == nil)
    #expect(read.equals(after))
  }

  @Test(
    "A write into a full file system",
    .enabled(if: PrivateFileSystem.memoryIsPossible, "mounting takes root"),
    arguments: Engine.present)
  func aFullFileSystemIsNamed(_ engine: Engine) throws {
    let small = try PrivateFileSystem.memory(bytes: 16 * 4096)
    let path = small.path + "/data"
    // A file with a size and no blocks, as no file of Pagoda's own is.
    let descriptor = unsafe open(path, O_RDWR | O_CREAT, 0o600)
    #expect(ftruncate(descriptor, 64 * 4096) == 0)
    close(descriptor)
    let disk = engine.disk(requestPages: 4)
    let memory = Memory(pages: 64)
    let file = try disk.openFile(path, byteCount: 64 * 4096, .readWrite)
    let failure = withExtendedLifetime(memory) {
      disk.perform(.write, file, offset: 0, memory.slice)
    }
    #expect(failure?.action == .write && failure?.code == ENOSPC && failure?.path == path)
    #expect(disk.inFlight == 0)
  }

  /// What lies beyond the limit stays as it was.
  @Test("A write beyond RLIMIT_FSIZE") func aWriteBeyondTheLimitOnFilesIsNamed() async {
    await #expect(processExitsWith: .success) {
      signal(SIGXFSZ, SIG_IGN)
      for engine in Engine.present {
        let scratch = Scratch()
        let disk = engine.disk(requestPages: 4)
        let (old, new, read) = (Memory(pages: 16), Memory(pages: 16), Memory(pages: 16))
        old.fill(version: 1)
        new.fill(version: 2)
        let file = try disk.openFile(scratch.file("a"), byteCount: 16 * 4096, .create)
        #expect(disk.perform(.write, file, offset: 0, old.slice) == nil)
        limitFiles(to: 6 * 4096)
        let failure = disk.perform(.write, file, offset: 0, new.slice)
        let created = #expect(throws: DiskError.self) {
          try disk.openFile(scratch.file("b"), byteCount: 16 * 4096, .create)
        }
        limitFiles(to: nil)
        for error in [failure, created] {
          #expect(error?.code == EFBIG && error?.description.contains("`ulimit -f`") == true)
        }
        #expect(failure?.path == scratch.file("a") && (failure?.offset ?? 0) >= 6 * 4096)
        #expect(disk.perform(.read, file, offset: 0, read.slice) == nil)
        #expect(read.equals(new, pages: 0..<6) && read.equals(old, pages: 6..<16))
        #expect(scratch.names == ["a"])
      }
    }
  }

  // MARK: Sizes and alignment

  @Test(
    "An offset, a length or a buffer that is not aligned",
    .enabled(if: Scratch.isDirect, "the temporary directory has no O_DIRECT"),
    arguments: Misalignment.allCases)
  func misalignedTransfersTrap(_ what: Misalignment) async {
    await #expect(processExitsWith: .signal(SIGILL)) { [what = what as Misalignment] in
      let scratch = Scratch()
      let disk = Engine.threads.disk()
      let file = try disk.openFile(scratch.file("a"), byteCount: 8192, .create)
      scratch.remove()
      let memory = Memory(pages: 2)
      withExtendedLifetime(memory) {
        let slice = unsafe PinnedSlice(
          address: memory.slice.address + (what == .buffer ? 1 : 0),
          byteCount: what == .length ? 4095 : 4096)
        _ = disk.perform(.read, file, offset: what == .offset ? 100 : 0, slice)
      }
    }
  }

  /// One unit more than whole pages, in requests of three pages, two at once.
  @Test("Bytes that threads and requests do not divide", arguments: Engine.present)
  func lengthsNeedNotDivide(_ engine: Engine) throws {
    let disk = engine.disk(depth: 2, requestPages: 3)
    let file = try disk.openFile(scratch.file("a"), byteCount: 16 * 4096, .create)
    let (written, read) = (Memory(pages: 8), Memory(pages: 8))
    written.fill(version: 4)
    let byteCount = 7 * 4096 + disk.alignment(of: file) % 4096
    for (kind, memory) in [(Transfer.Kind.write, written), (.read, read)] {
      let slice = unsafe PinnedSlice(address: memory.slice.address, byteCount: byteCount)
      #expect(disk.perform(kind, file, offset: 0, slice) == nil)
    }
    #expect(unsafe memcmp(written.slice.address, read.slice.address, byteCount) == 0)
    #expect(disk.counters.bytesWritten == byteCount && disk.counters.bytesRead == byteCount)
  }

  /// What the drive asks for, not a constant, decides which offsets are allowed.
  @Test("The drive's own sectors", arguments: Engine.present)
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

  @Test(
    "A drive with sectors of 4096 bytes",
    .enabled(if: PrivateFileSystem.driveIsPossible, "loop devices take root"),
    arguments: Engine.present)
  func drivesWithLargeSectorsWork(_ engine: Engine) throws {
    let drive = try PrivateFileSystem.drive()
    let disk = engine.disk(requestPages: 2)
    let file = try disk.openFile(drive.path + "/data", byteCount: 6 * 4096, .create)
    #expect(disk.isDirect(file) && disk.alignment(of: file) == 4096)
    let (written, read) = (Memory(pages: 5), Memory(pages: 5))
    written.fill(version: 5)
    #expect(disk.perform(.write, file, offset: 4096, written.slice) == nil)
    #expect(disk.perform(.read, file, offset: 4096, read.slice) == nil)
    #expect(read.equals(written))
  }

  /// No file system here has such files: what the kernel would say is given.
  @Test("A drive that wants more than 4096 bytes") func tooLargeUnitsGoThroughThePageCache() {
    let ext4 = 0xef53
    #expect(DirectAlignment(fileSystem: ext4, said: (8192, 512)) == nil)
    #expect(DirectAlignment(fileSystem: ext4, said: (4096, 65536)) == nil)
    #expect(DirectAlignment(fileSystem: ext4, said: (0, 0)) == nil)
    let usual = DirectAlignment(fileSystem: ext4, said: (512, 4))
    #expect(usual?.offset == 512 && usual?.memory == 4)
    let silent = DirectAlignment(fileSystem: ext4, said: nil)
    #expect(silent?.offset == 4096 && silent?.memory == 4096)
  }

  @Test("More requests at once than 4096") func absurdDepthsTrap() async throws {
    await #expect(processExitsWith: .signal(SIGILL)) { _ = PathSettings(queueDepth: 4097) }
    let disk = Engine.present[0].disk(depth: 4096)
    let file = try disk.openFile(scratch.file("a"), byteCount: 4096, .create)
    let memory = Memory(pages: 1)
    withExtendedLifetime(memory) {
      #expect(disk.perform(.write, file, offset: 0, memory.slice) == nil)
    }
  }

  // MARK: Files that are not what they should be

  /// A file cut behind the disk's back: within a block, at a block, wholly.
  @Test(
    "A file shorter than what is read", arguments: Engine.present,
    [0, 4096, 4096 * 3 + 100, 4096 * 5])
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

  @Test("A file shorter than it was made", arguments: Engine.present)
  func aShortFileIsRefusedWithBothSizes(_ engine: Engine) throws {
    let path = scratch.file("short")
    try engine.disk().openFile(path, byteCount: 8192, .create).discard()
    let failure = #expect(throws: DiskError.self) {
      try engine.disk().openFile(path, byteCount: 12288, .readWrite)
    }
    #expect(failure?.description.contains("8192") == true)
    #expect(failure?.description.contains("12288") == true)
  }

  @Test("A file that is missing, there already, a link or a directory", arguments: Engine.present)
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
    #expect(missing?.description.contains("\(scratch.file("none")): no such file") == true)
    let directory = #expect(throws: DiskError.self) {
      try disk.openFile(scratch.path, byteCount: 0, .readOnly)
    }
    #expect(directory?.description.contains("not a regular file") == true)
  }

  @Test("A new file is whole and its owner's", arguments: Engine.present)
  func newFilesArePrivateAndWhole(_ engine: Engine) throws {
    let path = scratch.file("a")
    try engine.disk().openFile(path, byteCount: 3 * 4096, .create).discard()
    var status = stat()
    #expect(unsafe stat(path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
    #expect(status.st_size == 3 * 4096)
    #expect(Int(status.st_blocks) * 512 >= 3 * 4096, "the blocks are there, not only the size")
  }

  @Test("A write to a file opened for reading") func writingToAReadOnlyFileTraps() async {
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

  // MARK: File systems without a disk

  @Test(
    "A file system in memory", .enabled(if: unsafe access("/dev/shm", W_OK) == 0),
    arguments: Engine.present)
  func memoryFileSystemsWork(_ engine: Engine) throws {
    let path = "/dev/shm/pagoda-test-\(getpid())-\(engine)"
    defer { unsafe _ = unlink(path) }
    try exchangeBuffered(engine, path)
  }

  /// An overlay takes O_DIRECT although the memory below it has none.
  @Test(
    "An overlay over memory",
    .enabled(if: PrivateFileSystem.overlayIsPossible, "mounting takes root"),
    arguments: Engine.present)
  func overlaysWork(_ engine: Engine) throws {
    let overlay = try PrivateFileSystem.overlay()
    try exchangeBuffered(engine, overlay.path + "/data")
  }

  /// Where the cache cannot be bypassed, the disk says so and works, at any offset.
  private func exchangeBuffered(_ engine: Engine, _ path: String) throws {
    let disk = engine.disk(requestPages: 2)
    let file = try disk.openFile(path, byteCount: 6 * 4096, .create)
    let (written, read) = (Memory(pages: 5), Memory(pages: 5))
    written.fill(version: 6)
    #expect(!disk.isDirect(file) && disk.alignment(of: file) == 1)
    #expect(disk.perform(.write, file, offset: 77, written.slice) == nil)
    #expect(disk.perform(.read, file, offset: 77, read.slice) == nil)
    #expect(read.equals(written))
  }

  // MARK: Waiting

  @Test("Waiting with nothing pending", arguments: Engine.present)
  func waitingForNothingReturnsAtOnce(_ engine: Engine) throws {
    let disk = engine.disk()
    #expect(disk.nextCompletion(wait: true) == nil)
    let file = try disk.openFile(scratch.file("a"), byteCount: 4096, .create)
    let memory = Memory(pages: 1)
    withExtendedLifetime(memory) {
      #expect(disk.perform(.write, file, offset: 0, memory.slice) == nil)
    }
    disk.start()
    #expect(disk.nextCompletion(wait: true) == nil && disk.inFlight == 0)
    disk.close()
    #expect(disk.nextCompletion(wait: true) == nil)
  }
}

enum Misalignment: String, Codable, CaseIterable, Sendable { case offset, length, buffer }

/// As the kernel gives it, asked without the engine; 1 where files are not direct.
private func directAlignment(of path: String) -> Int {
  var facts = statx()
  let asked = unsafe statx(AT_FDCWD, path, 0, UInt32(STATX_DIOALIGN), &facts)
  guard asked == 0, facts.stx_mask & UInt32(STATX_DIOALIGN) != 0 else { return 4096 }
  return facts.stx_dio_offset_align == 0 ? 1 : Int(facts.stx_dio_offset_align)
}

/// Sets the soft limit on the size of files that this process writes; nil lifts it.
private func limitFiles(to byteCount: Int?) {
  var limit = rlimit()
  unsafe getrlimit(RLIMIT_FSIZE, &limit)
  limit.rlim_cur = byteCount.map { UInt($0) } ?? limit.rlim_max
  let code = unsafe setrlimit(RLIMIT_FSIZE, &limit)
  precondition(code == 0, "a soft limit may be set")
}

extension DiskFile {
  func discard() {}
}

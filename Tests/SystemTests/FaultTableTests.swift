import Foundation
import TestSupport
import Testing
import Training

/// The fault table of whole runs, each a process of its own: what swapping systems are known to get
/// wrong, row by row. Every row ends in the numbers of an undisturbed run, or in an error that says
/// what and where, and then in those numbers once the cause is gone.
///
/// Further rows: records that are damaged or cut, data files of another store, in `StoreRefusalTests`; a
/// file system that fills up under log and manifest, in `InterruptionTests`; records and
/// transfers, in `FaultTableTests` of Paging and DirectIO.
@Suite("Fault table: runs") struct FaultTableTests {
  let workplace: Workplace
  /// What is said of drives needs no measuring of one that is met for the first time.
  let driving = [
    "storage.queue_depth=32", "storage.request_bytes=1MiB", "storage.mixing=interleaved",
  ]
  init() throws { workplace = try Workplace() }

  // MARK: No room

  /// A disk of 1 MiB cannot hold the store; needs the right to mount one.
  @Test(
    "A swap disk that is too small",
    .enabled(if: SmallDisk.isPossible, "mounting a small disk takes root"))
  func aFullDiskIsRefusedAtTheStartWithNumbers() throws {
    let disk = try SmallDisk(workplace.path("disk"), bytes: 1 << 20)
    defer { disk.unmount() }
    for run in ["disk/run", "run"] {
      let store = run == "run" ? ["--store", disk.path + "/store"] : []
      let ending = try Pagoda.run(workplace.training(run, store))
      ending.expect(73, "/store: the store needs ", "are free (", "missing)", "--store")
    }
    #expect(try workplace.contents("disk").isEmpty)
    #expect(try FileManager.default.contentsOfDirectory(atPath: disk.path) == [])
    #expect(!workplace.exists("run"))
  }

  @Test("A store larger than RLIMIT_FSIZE") func aLimitOnFilesIsNamed() throws {
    let limit = ["prlimit", "--fsize=1048576"]
    let ending = try Pagoda.run(workplace.training("run"), under: limit)
    ending.expect(73, "run/store/pages.bin at offset 0, ", " bytes: ", "raise `ulimit -f`")
    #expect(!workplace.exists("run/store/pages.bin"))
    try workplace.trained("run")
  }

  /// The store was there in full, and the drive cannot keep what it promised.
  @Test(
    "A drive that fills up in mid-run",
    .enabled(if: PrivateFileSystem.driveIsPossible, "loop devices take root"))
  func aDriveThatFillsUpLosesNothing() throws {
    let drive = try PrivateFileSystem.drive()
    let store = drive.path + "/store"
    // Few frames, so that records are written in the middle of a step.
    let command = workplace.training(
      "run",
      [
        "--memory", "\(try LeastBudget.bytes + 100_000)", "--store", workplace.path("first"),
        "--store", store,
      ] + driving)
    try Pagoda.run(command + ["--steps", "3"]).expect(0)
    try drive.fill()
    let ending = try Pagoda.run(command)
    ending.expect(
      74, ", plane", ": cannot write \(store)/pages.bin at offset ",
      "no space left on the device; free some")
    #expect(workplace.metrics("run").map(\.step) == [1, 2, 3])
    drive.clear()
    try Pagoda.run(command).expect(0, "continuing at step 4 of 8")
    try workplace.trained("reference")
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  // MARK: What the machine refuses

  /// So many bytes may be locked, and the right to lock more is given up.
  private static func locks(_ byteCount: Int) -> [String] {
    ["prlimit", "--memlock=\(byteCount)"]
      + (geteuid() == 0 ? ["setpriv", "--bounding-set=-ipc_lock"] : [])
  }

  @Test("mlock over the limit") func unlockedMemoryIsNotedOnce() throws {
    let ending = try Pagoda.run(workplace.training("run"), under: Self.locks(64 << 10))
    ending.expect(0, "`ulimit -l ")
    #expect(ending.errors.count(of: "memory is not locked") == 1, "\(ending.errors)")
    try workplace.trained("reference")
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  @Test("A queue depth beyond all limits") func absurdDepthsAreRefusedAndDeepOnesWork() throws {
    for depth in ["4097", "1000000000"] {
      try workplace.train("run", "storage.queue_depth=\(depth)").expect(
        78, "storage.queue_depth: \(depth) is out of range", "give at most 4096")
      try Pagoda.run(["bench", "swap", "--path", workplace.directory.path, "--depth", depth])
        .expect(64, "--depth: `\(depth)` is not a queue depth from 1 to 4096")
    }
    #expect(!workplace.exists("run"))
    let deepest = workplace.training("run", ["storage.queue_depth=4096"])
    try Pagoda.run(deepest, under: Self.locks(64 << 10)).expect(0)
    try workplace.trained("reference")
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  /// Enough for the ring of the probe or for that of the run: the kernel gives back the first one's
  /// memory late.
  @Test("A limit that holds one deep ring") func theMemoryOfTheProbeIsWaitedFor() throws {
    let deepest = workplace.training("run", ["storage.queue_depth=4096"])
    try Pagoda.run(deepest, under: Self.locks(512 << 10)).expect(0)
  }

  /// By a sandbox, a kernel without it, and a kernel that counts rings as locked memory.
  @Test(
    "io_uring refused",
    arguments: [(EPERM, "is forbidden here"), (ENOSYS, "no io_uring"), (ENOMEM, "`ulimit -l`")])
  func threadsTakeOver(_ code: Int32, _ reason: String) throws {
    let command = workplace.training("run")
    let ending = try SystemCallFilter.refusing(SystemCallFilter.ioUringSetup, with: code) {
      try Pagoda.run(command)
    }
    ending.expect(0, "note: reading and writing with threads instead of io_uring: ", reason)
    #expect(ending.errors.count(of: "instead of io_uring") == 1)
    try workplace.trained("reference")
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  @Test("A file system in memory", .enabled(if: unsafe access("/dev/shm", W_OK) == 0))
  func storesInMemoryAreNotedOnce() throws {
    let store = "/dev/shm/pagoda-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: store) }
    let ending = try Pagoda.run(workplace.training("run", ["--store", store] + driving))
    ending.expect(0, "refuses O_DIRECT", "its speed is not the disk's")
    #expect(ending.errors.count(of: "O_DIRECT") == 1)
    try workplace.trained("reference")
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  @Test(
    "An overlay over memory",
    .enabled(if: PrivateFileSystem.overlayIsPossible, "mounting takes root"))
  func storesInOverlaysAreNotedOnce() throws {
    let overlay = try PrivateFileSystem.overlay()
    let stores = ["--store", workplace.path("first"), "--store", overlay.path + "/store"]
    let ending = try Pagoda.run(workplace.training("run", stores + driving))
    ending.expect(0, "its speed is not the disk's")
    #expect(ending.errors.count(of: "O_DIRECT") == 1)
  }

  // MARK: Files changed between runs

  /// The header is in that half; `StoreRefusalTests` has single records.
  @Test("Swap file zeroed in its first half between runs") func aZeroedHalfIsRefused() throws {
    try workplace.trained("run", "--steps", "3")
    let name = "run/store/pages.bin"
    var data = try workplace.bytes(name)
    data.replaceSubrange(0..<data.count / 2, with: Data(count: data.count / 2))
    try data.write(to: URL(fileURLWithPath: workplace.path(name)))
    for ending in [try workplace.train("run"), try workplace.translate("run", "Save\n")] {
      ending.expect(65, name, "the data file lost its header", "--fresh")
    }
    #expect(try workplace.bytes(name) == data)
    #expect(workplace.metrics("run").count == 3)
  }
}

extension String {
  fileprivate func count(of part: String) -> Int { components(separatedBy: part).count - 1 }
}

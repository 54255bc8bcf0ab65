import Foundation
import TestSupport
import Testing
import Training

/// A store that is another's, in use, damaged or too new is never trained on and never changed.
@Suite struct StoreRefusalTests {
  let workplace: Workplace
  init() throws { workplace = try Workplace() }

  /// Trains four steps of eight, everything resident and committed once: experts come to the disk
  /// in the order of their first update, so that the first slots hold experts.
  private func halfTrained(_ run: String) throws {
    try workplace.trained(run, "--resident", "checkpoint.every=100", "--steps", "4")
  }

  @Test func aStoreOfAnotherModelIsNotTouched() throws {
    try workplace.trained("run")
    let before = try workplace.contents("run")
    let store = ["--store", workplace.path("run/store")]
    for change in ["seed=5", "model.ffn_dim=96", "training.learning_rate=0.5"] {
      let ending = try Pagoda.run(workplace.training("other", store + [change]))
      ending.expect(65, "run/store/manifest.sqlite belongs to another run", "Nothing was changed")
      #expect(!workplace.exists("other"))
    }
    #expect(try workplace.contents("run") == before)
    try workplace.train("run", "--resume").expect(0)
  }

  @Test func aStoreInUseIsLeftToItsUser() throws {
    let command = workplace.training("run", ["training.max_steps=1000000"])
    let first = try Pagoda.start(command)
    try waitUntil { workplace.metrics("run").count > 2 }
    try Pagoda.run(command).expect(75, "run/store/store.lock is in use by process ", "wait until")
    // Reading does no harm, and is not harmed.
    let translation = try workplace.translate("run", "Save the page\n")
    translation.expect(0)
    #expect(!translation.output.isEmpty)
    first.signal(SIGTERM)
    try first.wait().expect(75)
  }

  /// One byte of one plane of one expert. Training reads all four planes.
  @Test(arguments: [("hi", 0, 8192), ("lo", 8192, 8192), ("m", 16384, 16384), ("v", 32768, 16384)])
  func aDamagedRecordIsNamedAndNotTrainedOn(_ plane: String, _ start: Int, _ length: Int) throws {
    try workplace.trained("reference")
    try halfTrained("run")
    let offset = 4096 + start
    try flip("run/store/pages.bin", at: [offset + length / 3])
    let ending = try workplace.train("run")
    ending.expect(
      65, ", plane \(plane): ",
      "run/store/pages.bin at offset \(offset), \(length) bytes: checksum",
      "check the drive")
    #expect(
      ending.errors.contains(try Regex("layer [0-3] expert [0-7], plane")), "\(ending.errors)")
    #expect(workplace.metrics("run").map(\.step) == [1, 2, 3, 4])
    // The drive has come to its senses: the run ends as if nothing had been.
    try flip("run/store/pages.bin", at: [offset + length / 3])
    try workplace.trained("run")
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  @Test func aDamagedRecordIsNotTranslatedWith() throws {
    try halfTrained("run")
    try flip("run/store/pages.bin", at: (0..<16).map { 4096 + $0 * 49152 + 5 })
    let text = try (Sentences.all()["en"] ?? []).joined(separator: "\n") + "\n"
    let ending = try workplace.translate("run", text)
    ending.expect(65, ", plane hi: ", "run/store/pages.bin at offset ")
    #expect(ending.output.isEmpty)
  }

  @Test func aTruncatedDataFileIsRefused() throws {
    try halfTrained("run")
    let data = try workplace.bytes("run/store/pages.bin")
    try data.prefix(data.count / 2).write(to: URL(fileURLWithPath: dataFile))
    for ending in [try workplace.train("run"), try workplace.translate("run", "Save the page\n")] {
      ending.expect(65, "run/store/pages.bin", "--fresh")
    }
    #expect(try workplace.bytes("run/store/pages.bin") == data.prefix(data.count / 2))
  }

  @Test func theDataFileOfAnotherStoreIsRefused() throws {
    try halfTrained("run")
    try halfTrained("other")
    try workplace.bytes("other/store/pages.bin").write(to: URL(fileURLWithPath: dataFile))
    for ending in [try workplace.train("run"), try workplace.translate("run", "Save the page\n")] {
      ending.expect(65, "run/store/pages.bin: the data file of another store")
    }
  }

  /// SQLite keeps the version that programs give their files in bytes 60..<64 of the header.
  @Test func aNewerStoreFormatIsRefused() throws {
    try halfTrained("run")
    var manifest = try workplace.bytes("run/store/manifest.sqlite")
    #expect(Array(manifest[60..<64]) == [0, 0, 0, 3])
    manifest[63] = 4
    try manifest.write(to: URL(fileURLWithPath: workplace.path("run/store/manifest.sqlite")))
    for ending in [try workplace.train("run"), try workplace.translate("run", "Save the page\n")] {
      ending.expect(
        65, "manifest.sqlite: store format 4, this pagoda reads 3", "use a newer pagoda")
    }
    #expect(try workplace.bytes("run/store/manifest.sqlite") == manifest)
  }

  /// What a process leaves that is killed while it writes its configuration.
  @Test func whatAKilledFirstStartLeavesIsTakenOver() throws {
    try workplace.directory.write("seed: 1", "run/.dat.nosync1A2B.xyzabc")
    try workplace.trained("run", "--steps", "2")
    try workplace.trained("run", "--steps", "2", "--fresh")
    #expect(!workplace.exists("run/.dat.nosync1A2B.xyzabc"))
  }

  private var dataFile: String { workplace.path("run/store/pages.bin") }

  private func flip(_ name: String, at offsets: [Int]) throws {
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: workplace.path(name)))
    for offset in offsets {
      try file.seek(toOffset: UInt64(offset))
      let byte = try #require(try file.read(upToCount: 1)?.first)
      try file.seek(toOffset: UInt64(offset))
      try file.write(contentsOf: [byte ^ 0x10])
    }
    try file.synchronize()
  }

  /// --fresh deletes the run in --run when everything else is in order, and no other run's store.
  @Test func freshDeletesNothingThatIsNotItsOwn() throws {
    try workplace.trained("mine", "--steps", "2")
    try workplace.trained("other", "--steps", "2")
    let (mine, other) = (try workplace.bytes("mine/metrics.jsonl"), workplace.path("other/store"))

    try workplace.train("mine", "--fresh", "--memory", "1MiB").expect(71)
    try workplace.train("mine", "--fresh", "data.corpus=nowhere").expect(66)
    #expect(try workplace.bytes("mine/metrics.jsonl") == mine)

    try workplace.train("mine", "--fresh", "--store", other).expect(78, "another directory")
    #expect(try workplace.lines("other/metrics.jsonl").count == 2)
    try workplace.train("other", "--steps", "3").expect(0)
    #expect(try workplace.lines("other/metrics.jsonl").count == 3)
  }

  /// A run finds its store where it was put; elsewhere, or gone, is an error that costs nothing.
  @Test func aRunRemembersWhereItsStoreIs() throws {
    let place = workplace.path("drive")
    try workplace.train("run", "--store", place, "--steps", "2").expect(0)
    try workplace.train("run", "--steps", "3").expect(0)
    let lines = try workplace.lines("run/metrics.jsonl")
    #expect(lines.count == 3)

    try workplace.train("run", "--store", workplace.path("other"), "--steps", "4").expect(
      78, place, "leave out --store")
    try FileManager.default.moveItem(atPath: place, toPath: place + "-unmounted")
    try workplace.train("run", "--steps", "4").expect(66, "the store is missing")
    #expect(try workplace.lines("run/metrics.jsonl") == lines)
    #expect(!workplace.exists("other"))

    try FileManager.default.moveItem(atPath: place + "-unmounted", toPath: place)
    try workplace.train("run", "--steps", "4").expect(0)
    #expect(try workplace.lines("run/metrics.jsonl").count == 4)
  }

  /// What a first start leaves that was killed before it wrote its configuration.
  @Test func freshRecoversAStartThatWasKilled() throws {
    try workplace.trained("run", "--steps", "1")
    for name in try FileManager.default.contentsOfDirectory(atPath: workplace.path("run"))
    where name != "store" {
      try FileManager.default.removeItem(atPath: workplace.path("run/\(name)"))
    }
    try workplace.train("run", "--fresh", "--steps", "1").expect(0)
    #expect(try workplace.lines("run/metrics.jsonl").count == 1)
  }
}

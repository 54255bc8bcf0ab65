import Foundation
import TestSupport
import Testing
import Training

/// `pagoda store` as its users call it.
@Suite struct StoreCommandTests {
  let workplace: Workplace

  init() throws { workplace = try Workplace() }

  private var store: String { workplace.path("run/store") }

  private func trained() throws {
    try workplace.trained("run", "checkpoint.keep=3", "checkpoint.every=2")
  }

  private func object(_ ending: Ending) throws -> [String: Any] {
    try #require(
      JSONSerialization.jsonObject(with: Data(ending.output.utf8)) as? [String: Any])
  }

  private func flip(_ file: String, at offset: Int) throws {
    var bytes = try workplace.bytes(file)
    bytes[offset] ^= 8
    try bytes.write(to: URL(fileURLWithPath: workplace.path(file)))
  }

  @Test func infoTellsGenerationsSizesAndWear() throws {
    try trained()
    let text = try Pagoda.run(["store", "info", store])
    text.expect(0)
    for word in ["generation", "never written", "dense", "written so far", store] {
      #expect(text.output.contains(word), "\(text.output)")
    }
    let info = try object(Pagoda.run(["store", "info", store, "--json"]))
    let generations = try #require(info["generations"] as? [[String: Any]])
    #expect(generations.compactMap { $0["step"] as? Int } == [4, 6, 8])
    let planes = try #require(info["plane_bytes"] as? [String: Int])
    #expect(planes["m"] == planes["v"] && planes["hi"] == planes["lo"])
    let directories = try #require(info["directories"] as? [[String: Any]])
    let written = try #require(directories.first?["written_bytes"] as? Int)
    #expect(try written == workplace.summary("run").write_bytes)
  }

  /// Of less precision: said by `info`, whole for `verify`, and read by all that read models.
  @Test func aSmallStoreIsReadByEveryCommand() throws {
    let precision = ["training.states=int8", "training.master=bf16"]
    try Pagoda.run(workplace.training("run", precision)).expect(0)
    let text = try Pagoda.run(["store", "info", store])
    #expect(text.output.contains("moments int8, master bf16: 4.0"), "\(text.output)")
    let info = try object(Pagoda.run(["store", "info", store, "--json"]))
    #expect(info["states"] as? String == "int8" && info["master"] as? String == "bf16")
    let planes = try #require(info["plane_bytes"] as? [String: Int])
    #expect(planes["lo"] == 0 && planes["m"] == planes["v"])
    try Pagoda.run(["store", "verify", store]).expect(0)
    try Pagoda.run(["evaluate", workplace.path("run"), "--sentences", "4"]).expect(0)
    try Pagoda.run(["export", workplace.path("run"), workplace.path("exported")]).expect(0)
    try Pagoda.run(["import", workplace.path("exported"), workplace.path("copy")]).expect(0)
    let copy = try object(
      Pagoda.run(["store", "info", workplace.path("copy/store"), "--json"]))
    #expect(copy["states"] as? String == "int8" && copy["master"] as? String == "bf16")
  }

  @Test func verifyNamesWhatIsDamaged() throws {
    try trained()
    let whole = try Pagoda.run(["store", "verify", store])
    whole.expect(0)
    #expect(whole.output.hasPrefix("whole: "), "\(whole.output)")
    // Some of these slots are free, the others hold records of several generations.
    for slot in 0..<60 { try flip("run/store/pages.bin", at: 4096 + slot * 49_152 + 20_000) }
    let ending = try Pagoda.run(["store", "verify", store])
    ending.expect(65)
    for word in ["damaged: ", "pages.bin at offset ", "plane m", "in generations "] {
      #expect(ending.output.contains(word), "\(ending.output)")
    }
    let report = try object(Pagoda.run(["store", "verify", store, "--json"]))
    let damaged = try #require(report["damaged"] as? [[String: Any]])
    #expect(damaged.count > 5 && damaged.count <= 60)
    for slot in 0..<60 { try flip("run/store/pages.bin", at: 4096 + slot * 49_152 + 20_000) }
    try Pagoda.run(["store", "verify", store]).expect(0)
    try flip(
      "run/store/manifest.sqlite", at: workplace.bytes("run/store/manifest.sqlite").count - 9)
    try Pagoda.run(["store", "verify", store]).expect(65)
  }

  @Test func aRolledBackRunIsTrainedAgain() throws {
    try trained()
    try workplace.trained("reference")
    try Pagoda.run(["store", "rollback", store, "5"]).expect(66, "there are: 4, 6, 8")
    try Pagoda.run(["store", "rollback", store, "4"]).expect(0)
    let ending = try workplace.train("run", "checkpoint.keep=3", "checkpoint.every=2")
    ending.expect(0, "continuing at step 5 of 8")
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  @Test func aSnapshotBesideTrainingIsAStore() throws {
    let training = workplace.training("run", ["training.max_steps=1000000", "checkpoint.every=1"])
    let process = try Pagoda.start(training)
    try waitUntil { workplace.metrics("run").count > 3 }
    for number in 1...3 {
      let copy = workplace.path("copy\(number)")
      let ending = try Pagoda.run(["store", "snapshot", store, copy])
      ending.expect(0)
      try Pagoda.run(["store", "verify", copy]).expect(0)
      try Pagoda.run(["store", "snapshot", store, copy]).expect(65, "a store is there already")
    }
    try Pagoda.run(["store", "verify", store]).expect(0)
    try Pagoda.run(["store", "compact", store]).expect(75, "is in use by process ")
    process.signal(SIGTERM)
    try process.wait().expect(75)
    let steps = workplace.metrics("run").count + 2
    let more = ["training.max_steps=1000000", "--steps", "\(steps)"]
    try Pagoda.run(workplace.training("run", more)).expect(0)
    // The same steps again from the copy, in a run of its own.
    let again = more + ["--store", workplace.path("copy2")]
    let ending = try Pagoda.run(workplace.training("again", again))
    ending.expect(0, "continuing at step ")
    let (all, some) = (
      try workplace.printedLosses("run"), try workplace.printedLosses("again")
    )
    #expect(!some.isEmpty && Array(all.suffix(some.count)) == some)
  }

  @Test func directoriesComeAndGo() throws {
    let paths = ["a", "b"].map { workplace.path($0) }
    let both = ["--store", paths[0], "--store", paths[1]]
    try Pagoda.run(workplace.training("run", both + ["--steps", "4"])).expect(0)
    try Pagoda.run(["store", "drain", paths[0], workplace.path("c")]).expect(78, "no directory")
    try Pagoda.run(["store", "drain", paths[0], paths[0]]).expect(0)
    #expect(try workplace.contents("a").isEmpty)
    try Pagoda.run(["store", "drain", paths[1], paths[1]]).expect(78, "only directory")
    try Pagoda.run(workplace.training("run", both)).expect(0, "continuing at step 5 of 8")
    try Pagoda.run(["store", "compact", paths[1]]).expect(0)
    try workplace.trained("reference")
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  @Test func wrongPlacesAreNamed() throws {
    try Pagoda.run(["store", "info", workplace.path("none")]).expect(66, "none/manifest.sqlite")
    try workplace.directory.write("a letter", "letters/manifest.sqlite")
    for command in ["info", "verify", "compact"] {
      try Pagoda.run(["store", command, workplace.path("letters")]).expect(
        65, "Nothing was changed")
    }
    #expect(try workplace.contents("letters").count == 1)
    try Pagoda.run(["store", "rollback", store]).expect(64)
  }
}

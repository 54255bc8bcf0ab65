import Foundation
import TestSupport
import Testing

/// A model leaves as safetensors and comes back.
@Suite struct ExchangeTests {
  let workplace: Workplace

  init() throws {
    workplace = try Workplace()
    try workplace.trained("run", "--steps", "4")
  }

  private func export(
    _ name: String, _ more: String..., sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Ending {
    try Pagoda.run(
      ["export", workplace.path("run"), workplace.path(name)] + more,
      sourceLocation: sourceLocation)
  }

  private func imports(
    _ name: String, into run: String, _ more: String...,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Ending {
    try Pagoda.run(
      ["import", workplace.path(name), workplace.path(run)] + more, sourceLocation: sourceLocation)
  }

  private func fields(_ ending: Ending) throws -> [String: Any] {
    let any = try JSONSerialization.jsonObject(with: Data(ending.output.utf8))
    return try #require(any as? [String: Any])
  }

  /// Export with moments, import, train on: digit for digit what the run itself does.
  @Test func aRunMovesAndGoesOn() throws {
    let exported = try export("exported", "--optimizer", "--shard-size", "200kB", "--json")
    exported.expect(0)
    let report = try fields(exported)
    #expect(report["step"] as? Int == 4 && report["has_optimizer"] as? Bool == true)
    let peak = try #require(report["peak_rss_bytes"] as? Int)
    #expect(peak > 0 && peak <= 512 << 20 && report["memory_budget_bytes"] as? Int == 512 << 20)
    let names = try FileManager.default.contentsOfDirectory(atPath: workplace.path("exported"))
    #expect(report["files"] as? Int == names.count)
    #expect(
      Set(names).isSuperset(of: [
        "config.json", "config.yaml", "tokenizer.model", "training_state.json",
        "model.safetensors.index.json", "optimizer.safetensors.index.json",
      ]))
    #expect(try workplace.bytes("exported/tokenizer.model").count > 1000)

    let imported = try imports("exported", into: "copy", "--json")
    imported.expect(0)
    #expect(try fields(imported)["step"] as? Int == 4)
    let config = workplace.path("copy/config.yaml")
    try Pagoda.run(["train", config, "--run", workplace.path("copy")]).expect(
      0, "continuing at step 5 of 8")
    try workplace.trained("run")
    #expect(
      try workplace.printedLosses("copy") == Array(workplace.printedLosses("run").dropFirst(4)))
    #expect(
      try workplace.translate("copy", "Save the page\n").output
        == workplace.translate("run", "Save the page\n").output)
  }

  @Test func weightsAloneStartAtStepZeroAndSaySo() throws {
    let exported = try export("exported")
    exported.expect(0)
    #expect(exported.output.contains("step 4, "))
    #expect(!workplace.exists("exported/optimizer.safetensors"))
    let imported = try imports("exported", into: "copy", "--store", workplace.path("drive"))
    imported.expect(0, "note: ", "exported without --optimizer", "step 0")
    #expect(imported.output.contains("continue with: pagoda train"))
    #expect(workplace.exists("drive/manifest.sqlite") && !workplace.exists("copy/store"))
    // The same weights translate alike.
    #expect(
      try workplace.translate("copy", "Save the page\n").output
        == workplace.translate("run", "Save the page\n").output)
    try Pagoda.run(
      [
        "train", workplace.path("copy/config.yaml"), "--run", workplace.path("copy"), "--steps",
        "1",
      ]
    ).expect(0)
  }

  @Test func whatCannotBeExportedIsRefused() throws {
    try workplace.directory.write("mine", "full/letter.txt")
    try export("full").expect(73, "full is not empty")
    #expect(try workplace.contents("full").count == 1)
    try export("new", "--memory", "1MiB").expect(71, "give --memory")
    try export("new", "--shard-size", "0").expect(64, "Usage: pagoda export")
    try Pagoda.run(["export", workplace.path("nowhere"), workplace.path("new")]).expect(
      66, "nowhere holds no run")
    try export("deep/below/new").expect(66, "the directory above the new one")
    #expect(!workplace.exists("new") && !workplace.exists("new.partial"))
  }

  @Test func whatCannotBeImportedIsRefused() throws {
    try export("exported").expect(0)
    let run = try workplace.contents("run")
    try imports("exported", into: "run").expect(73, "run exists")
    #expect(try workplace.contents("run") == run)
    try imports("exported", into: "copy", "--store", workplace.path("run/store")).expect(
      73, "holds a store already")
    try imports("run", into: "copy").expect(66, "config.json", "pagoda export")
    try imports("exported", into: "copy", "--corpus", workplace.path("nowhere")).expect(
      66, "nowhere/corpus.json")
    try imports("exported", into: "copy", "--memory", "1MiB").expect(71, "give --memory")

    let data = try workplace.bytes("exported/model.safetensors")
    let file = URL(fileURLWithPath: workplace.path("exported/model.safetensors"))
    try data.dropLast(5).write(to: file)
    try imports("exported", into: "copy").expect(65, "model.safetensors at offset ")
    try FileManager.default.removeItem(at: file)
    try imports("exported", into: "copy").expect(
      66, "exported: model.safetensors or ", "is missing")
    #expect(!workplace.exists("copy"))
  }

  @Test func anotherCorpusIsRefusedByItsContent() throws {
    try export("exported").expect(0)
    let copy = workplace.path("corpus")
    try FileManager.default.copyItem(atPath: try Workplace.corpus, toPath: copy)
    let manifest = try String(decoding: workplace.bytes("corpus/corpus.json"), as: UTF8.self)
    let checksum = try #require(
      manifest.firstMatch(of: /^  "checksum" : "(\w+)"/.anchorsMatchLineEndings()))
    try workplace.directory.write(
      manifest.replacingOccurrences(of: checksum.0, with: "  \"checksum\" : \"0123\""),
      "corpus/corpus.json")
    try imports("exported", into: "new", "--corpus", copy).expect(
      65, "\(copy) has the content 0123, ", "trained on \(checksum.1)", "--corpus")
    #expect(!workplace.exists("new"))
  }

  /// A generation of a run under way is exported whole, and that run goes on as ever.
  @Test func aRunUnderWayIsExportedAsItWas() throws {
    let endless = ["training.max_steps=1000000", "checkpoint.every=2"]
    let process = try Pagoda.start(workplace.training("busy", endless))
    defer { process.signal(SIGKILL) }
    try waitUntil { workplace.metrics("busy").count > 4 }
    let exported = try Pagoda.run(
      ["export", workplace.path("busy"), workplace.path("new"), "--optimizer", "--json"])
    exported.expect(0)
    let step = try #require(fields(exported)["step"] as? Int)
    try waitUntil { workplace.metrics("busy").count > step + 4 }
    process.signal(SIGKILL)
    _ = try process.wait()
    try imports("new", into: "copy").expect(0)
    try Pagoda.run(
      [
        "train", workplace.path("copy/config.yaml"), "--run", workplace.path("copy"), "--steps",
        "\(step + 3)",
      ]
    ).expect(0)
    let whole = try workplace.printedLosses("busy")
    #expect(try workplace.printedLosses("copy") == Array(whole[step..<step + 3]))
  }

  /// A write that fails half way, as of a file beyond `ulimit -f`: named, and nothing stays.
  @Test func aWriteThatFailsLeavesNothing() throws {
    let limit = ["prlimit", "--fsize=65536"]
    try Pagoda.run(
      ["export", workplace.path("run"), workplace.path("new")], under: limit
    ).expect(74, "cannot write ", "model.safetensors at offset 65536: File too large")
    #expect(!workplace.exists("new") && !workplace.exists("new.partial"))
    try export("exported").expect(0)
    try Pagoda.run(
      ["import", workplace.path("exported"), workplace.path("copy")], under: limit
    ).expect(73, "ulimit -f")
    #expect(!workplace.exists("copy"))
  }

  @Test(.enabled(if: SmallDisk.isPossible)) func aDiskTooSmallIsRefusedBeforeTheFirstByte() throws {
    let disk = try SmallDisk(workplace.path("disk"), bytes: 256 << 10)
    defer { disk.unmount() }
    try export("disk").expect(73, "is the root of a file system", "name a directory below it")
    try export("disk/new").expect(73, "bytes are to be written, ", "another drive")
    try export("exported").expect(0)
    try imports("exported", into: "copy", "--store", workplace.path("disk/store")).expect(
      73, "the store needs ")
    #expect(!workplace.exists("copy"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: disk.path).isEmpty)
  }

  /// Killed at any moment, the same command does it again.
  @Test(arguments: [1, 20, 60, 150])
  func aKilledExchangeIsDoneAgain(milliseconds: Int) throws {
    let export = ["export", workplace.path("run"), workplace.path("exported"), "--optimizer"]
    try kill(export, after: milliseconds)
    if !workplace.exists("exported") { try Pagoda.run(export).expect(0) }
    #expect(!workplace.exists("exported.partial"))
    let command = ["import", workplace.path("exported"), workplace.path("copy")]
    try kill(command, after: milliseconds)
    if !workplace.exists("copy/config.yaml") { try Pagoda.run(command).expect(0) }
    try Pagoda.run(
      ["train", workplace.path("copy/config.yaml"), "--run", workplace.path("copy")]
    ).expect(0, "continuing at step 5 of 8")
  }

  private func kill(_ command: [String], after milliseconds: Int) throws {
    let process = try Pagoda.start(command)
    usleep(UInt32(milliseconds) * 1000)
    process.signal(SIGKILL)
    _ = try process.wait()
  }
}

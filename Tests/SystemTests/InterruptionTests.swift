import Base
import Foundation
import Testing
import Training

/// Whatever ends the process, the same command continues and comes to the same numbers.
@Suite(.serialized) struct InterruptionTests {
  let workplace: Workplace
  /// Enough steps for several interruptions, paged through few frames.
  let options: [String]

  init() throws {
    workplace = try Workplace()
    options = [
      "--memory", "\(try LeastBudget.bytes + 200_000)", "training.max_steps=120",
      "evaluation.every=30",
    ]
  }

  @Test func aSignalFinishesTheStepCommitsAndTheSameCommandContinues() throws {
    try #require(Pagoda.run(workplace.training("reference", options)).exitCode == 0)
    for signal in [SIGTERM, SIGINT, SIGUSR1] {
      let before = workplace.metrics("run").count
      let process = try Pagoda.start(workplace.training("run", options))
      try waitUntil { workplace.metrics("run").count > before }
      process.signal(signal)
      try process.wait().expect(75, "stopping after this step; run the same command to continue")
      #expect(workplace.metrics("run").count > before)
      #expect(!workplace.exists("run/summary.json"))
    }
    let last = workplace.metrics("run").count
    try Pagoda.run(workplace.training("run", options)).expect(
      0, "continuing at step \(last + 1) of 120")
    try expectSameRuns()
  }

  /// Killed at any instant, the first start included: nobody repairs anything.
  @Test func killedAgainAndAgainItEndsWithTheSameNumbers() throws {
    try #require(Pagoda.run(workplace.training("reference", options)).exitCode == 0)
    let random = Philox(seed: 7, purpose: .test)
    var kills = 0
    while true {
      let process = try Pagoda.start(workplace.training("run", options))
      // Longer and longer, so that a slow machine comes to the end too.
      let longest = 0.25 + 0.02 * Double(kills)
      let moment = longest * Double(random.uniform(UInt32(kills), 0, 0))
      if process.hasEnded(within: moment) {
        try process.wait().expect(0)
        break
      }
      process.signal(SIGKILL)
      _ = try process.wait()
      kills += 1
      try #require(kills < 200)
    }
    #expect(kills >= 3)
    try expectSameRuns()
  }

  /// The second SIGINT does not wait for the step; what was committed before stays.
  @Test func aSecondInterruptEndsTheProcessAtOnce() throws {
    // Long steps: two hundred micro-batches each.
    let slow = [
      "training.gradient_accumulation_steps=200", "training.max_steps=1000", "checkpoint.every=1",
    ]
    var codes: [Int32?] = []
    // A signal just before the end of a step finds nothing to wait for: then once more.
    while codes.last != 128 + SIGINT && codes.count < 8 {
      let before = workplace.metrics("run").count
      let process = try Pagoda.start(workplace.training("run", slow))
      // The line of the second step comes after the commit of the first.
      try waitUntil { workplace.metrics("run").count > before + 1 }
      // Evaluation and commit of that step are over by then.
      usleep(50_000)
      process.signal(SIGINT)
      try waitUntil {
        process.errorsSoFar.contains("again to stop now") || process.hasEnded(within: 0)
      }
      process.signal(SIGINT)
      codes.append(try process.wait().exitCode)
    }
    #expect(codes.last == 128 + SIGINT && codes.dropLast().allSatisfy { $0 == 75 }, "\(codes)")
    let steps = "\(workplace.metrics("run").count + 1)"
    try Pagoda.run(workplace.training("run", slow + ["--steps", steps, "--resume"])).expect(0)
    try Pagoda.run(workplace.training("reference", slow + ["--steps", steps])).expect(0)
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  /// The disk fills up in the middle: an error that names the file, and nothing is lost.
  @Test(.enabled(if: SmallDisk.isPossible, "mounting a small disk takes root"))
  func aDiskThatFillsUpLosesNothing() throws {
    try #require(Pagoda.run(workplace.training("reference", options)).exitCode == 0)
    let store = try workplace.bytes("reference/store/pages.bin").count
    let disk = try SmallDisk(workplace.path("disk"), bytes: store + 96 << 10)
    defer { disk.unmount() }
    try Pagoda.run(workplace.training("disk/run", options)).expect(74, disk.path + "/run/")
    #expect(!workplace.metrics("disk/run").isEmpty && !workplace.exists("disk/run/summary.json"))
    disk.resize(bytes: store + 8 << 20)
    try Pagoda.run(workplace.training("disk/run", options + ["--resume"])).expect(0)
    #expect(
      try workplace.printedLosses("disk/run") == workplace.printedLosses("reference"))
  }

  /// Damage of records that no generation needs yet: the process itself goes back to the last one and
  /// computes again what was lost.
  @Test func aDamagedUncommittedRecordSendsTheRunBack() throws {
    let endless = options + ["training.max_steps=1000000", "checkpoint.every=1000000"]
    try Pagoda.run(workplace.training("run", endless + ["--steps", "3"])).expect(0)
    let before = try workplace.bytes("run/store/pages.bin")
    let process = try Pagoda.start(workplace.training("run", endless))
    func hasGoneBack(within seconds: Double) -> Bool {
      let end = ContinuousClock.now + .seconds(seconds)
      while ContinuousClock.now < end, !process.hasEnded(within: 0.01) {
        if process.errorsSoFar.contains("going back to generation") { return true }
      }
      return false
    }
    // A second damage of the same generation's steps would be an error: time to meet the first.
    repeat {
      // Standing still, so that nobody else writes through or around the page cache.
      process.signal(SIGSTOP)
      usleep(20_000)
      try flipOpenRecords(of: "run/store/pages.bin", since: before)
      process.signal(SIGCONT)
    } while !hasGoneBack(within: 3) && !process.hasEnded(within: 0)
    try waitUntil { workplace.metrics("run").count > 8 }
    process.signal(SIGTERM)
    try process.wait().expect(75, "plane v", "going back to generation")
    let steps = "\(workplace.metrics("run").count)"
    try Pagoda.run(workplace.training("reference", endless + ["--steps", steps])).expect(0)
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
  }

  /// Turns over a bit of the second moments of every record that differs from an older file.
  private func flipOpenRecords(of name: String, since before: Data) throws {
    let file = try FileHandle(forUpdating: URL(fileURLWithPath: workplace.path(name)))
    let now = try workplace.bytes(name)
    for start in stride(from: 4096, to: now.count, by: 49_152) {
      guard now[start..<start + 49_152] != before[start..<start + 49_152] else { continue }
      try file.seek(toOffset: UInt64(start + 40_000))
      try file.write(contentsOf: Data([now[start + 40_000] ^ 1]))
    }
    try file.synchronize()
    posix_fadvise(file.fileDescriptor, 0, 0, POSIX_FADV_DONTNEED)
    try file.close()
  }

  /// checkpoint.seconds: a generation though no step is due.
  @Test func commitsComeByTheClock() throws {
    let endless = [
      "training.max_steps=1000000", "checkpoint.every=1000000", "checkpoint.seconds=1",
    ]
    let process = try Pagoda.start(workplace.training("run", endless))
    try waitUntil {
      let info = try? Pagoda.run(["store", "info", workplace.path("run/store"), "--json"])
      return info?.output.contains("committed_at") == true
    }
    process.signal(SIGKILL)
    _ = try process.wait()
    let steps = "\(workplace.metrics("run").count + 1)"
    let ending = try Pagoda.run(workplace.training("run", endless + ["--steps", steps]))
    ending.expect(0, "continuing at step ")
  }

  /// A finished run is done; the same command says so, and runs nothing.
  @Test func aFinishedRunStaysAsItIs() throws {
    try workplace.trained("run")
    let (metrics, store) = (
      try workplace.bytes("run/metrics.jsonl"), try workplace.contents("run/store")
    )
    let before = try workplace.summary("run")
    try workplace.train("run").expect(0, "step 8 is done already")
    #expect(try workplace.bytes("run/metrics.jsonl") == metrics)
    #expect(try workplace.contents("run/store")["pages.bin"] == store["pages.bin"])
    #expect(try workplace.summary("run").heldout_losses == before.heldout_losses)
    // The resolved configuration is a configuration.
    try Pagoda.run(["train", workplace.path("run/config.yaml"), "--run", workplace.path("run")])
      .expect(0, "step 8 is done already")
    try workplace.trained("run", "--fresh")
    #expect(try workplace.summary("run").heldout_losses == before.heldout_losses)
    #expect(workplace.metrics("run").count == 8)
  }

  private func expectSameRuns() throws {
    #expect(workplace.metrics("run").map(\.step) == Array(1...120))
    #expect(try workplace.printedLosses("run") == workplace.printedLosses("reference"))
    let evaluations = try workplace.printedEvaluations("run")
    #expect(evaluations == (try workplace.printedEvaluations("reference")))
    #expect(evaluations.count == 4)
    let summaries = try ["run", "reference"].map { try workplace.summary($0) }
    #expect(summaries[0].heldout_loss == summaries[1].heldout_loss)
    #expect(summaries[0].tokens == summaries[1].tokens)
    let text = "Save the page\nThe file does not exist\n"
    let translations = try ["run", "reference"].map { try workplace.translate($0, text).output }
    #expect(translations[0] == translations[1])
  }
}

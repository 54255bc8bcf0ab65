import Foundation
import TestSupport
import Testing
import Training

/// `--trace`, as a user meets it.
@Suite struct TraceTests {
  let workplace: Workplace
  init() throws { workplace = try Workplace() }

  private func steps(_ name: String) throws -> [String] {
    let any = try JSONSerialization.jsonObject(with: workplace.bytes(name))
    let file = try #require(any as? [String: Any])
    let events = try #require(file["traceEvents"] as? [[String: Any]])
    return events.compactMap { $0["name"] as? String }.filter { $0.hasPrefix("step ") }
  }

  /// The first five steps of a command; told so, others. Nothing else changes.
  @Test func aTraceIsDrawnBesideTheRun() throws {
    let trace = workplace.path("run/trace.json")
    let ending = try workplace.train("run", "--trace", trace, "--json")
    ending.expect(0, "the timeline is in \(trace)", "ui.perfetto.dev")
    #expect(try steps("run/trace.json") == (1...5).map { "step \($0)" })
    let memory = try workplace.summary("run").memory
    #expect(memory.contains { $0.name == "trace" && $0.bytes > 0 })

    try workplace.trained("plain", "--steps", "6")
    let other = try workplace.train(
      "plain", "--trace", workplace.path("other.json"), "--trace-steps", "8")
    other.expect(0, "the timeline is in ")
    #expect(try steps("other.json") == ["step 8"])
    #expect(try workplace.printedLosses("plain") == workplace.printedLosses("run"))
  }

  /// A run that is stopped leaves what it has; steps that are not made leave nothing but a word.
  @Test func aStoppedRunLeavesAFileThatLoads() throws {
    let run = try Pagoda.start(
      workplace.training(
        "run",
        [
          "training.max_steps=1000000", "checkpoint.every=1000000", "--trace",
          workplace.path("trace.json"), "--trace-steps", "2-1000000",
        ]))
    try waitUntil { workplace.exists("trace.json.partial") && workplace.metrics("run").count > 2 }
    run.signal(SIGTERM)
    try run.wait().expect(75, "the timeline is in ")
    #expect(try steps("trace.json").first == "step 2")
    #expect(!workplace.exists("trace.json.partial"))

    try workplace.train(
      "short", "--steps", "2", "--trace", workplace.path("none.json"), "--trace-steps", "3-4"
    ).expect(0, "nothing is traced: the run ends before step 3")
    #expect(!workplace.exists("none.json"))
  }

  /// Refused before anything is made, and what is in the way stays.
  @Test func aFileThatCannotBeWrittenIsRefused() throws {
    try workplace.directory.write("", "file")
    for (path, words) in [
      ("nowhere/trace.json", "no such file or directory"), ("file/trace.json", "not a directory"),
      ("", "not a regular file"),
    ] {
      try workplace.train("run", "--trace", workplace.path(path)).expect(
        73, "cannot create \(workplace.path(path))", words)
      #expect(!workplace.exists("run") && !workplace.exists("nowhere"))
    }
    try workplace.train("run", "--trace", "/dev/null").expect(73, "not a regular file")
  }

  /// --fresh deletes a run only when the new one can begin.
  @Test func aRefusedFileCostsNoRun() throws {
    try workplace.trained("run", "--steps", "2")
    let before = try workplace.contents("run")
    try workplace.train("run", "--fresh", "--trace", workplace.path("nowhere/x")).expect(73)
    #expect(try workplace.contents("run") == before)
  }

  @Test(
    arguments: [["--trace-steps", "1-2"], ["--trace", "x", "--trace-steps", "0-2"]] + [
      ["--trace", "x", "--trace-steps", "3-2"], ["--trace", "x", "--trace-steps", "1-2-3"],
    ])
  func stepsThatAreNoneAreAUsageError(_ options: [String]) throws {
    try Pagoda.run(workplace.training("run", options)).expect(64, "trace-steps")
    try Pagoda.run(workplace.training("run", ["--trace", ""])).expect(64, "needs the path")
    #expect(!workplace.exists("run"))
  }
}

import Base
import Foundation
import TestSupport
import Testing
import Training

/// A timeline says what the metrics say, event by event.
@Suite struct StepTraceTests {
  /// A run in the least memory that a timeline leaves, with everything that a timeline shows: two
  /// threads, two paths, commits and evaluations between the steps.
  private struct TracedRun {
    var run: TinyRun
    let path: String

    init() throws {
      run = try TinyRun()
      run.config.compute.threads = 2
      run.config.memory.dense = "resident"
      run.config.memory.spill = "never"
      run.config.storage.paths = ["a", "b"].map { [directory = run.directory.path] in
        "\(directory)/\($0)"
      }
      path = run.directory.path + "/trace.json"
    }

    func session(_ steps: ClosedRange<Int>? = nil) throws -> TrainingSession {
      try TrainingSession(
        run.config, storePaths: run.storePaths, profiles: run.profiles,
        trace: TraceRequest(path: path, steps: steps))
    }

    /// Lowers the budget to what a session with a timeline needs.
    mutating func lowerBudget() throws {
      run.config.memory.budget = "\(try run.leastBudget())"
      let refusal = #expect(throws: MemoryRefusal.self) { _ = try session() }
      run.config.memory.budget = "\(try run.leastBudget() + (refusal?.missing ?? 0))"
    }
  }

  /// Five steps with a commit after each and an evaluation after the second.
  private static func fiveSteps(
    _ run: TracedRun, _ steps: ClosedRange<Int>
  ) throws -> [StepMetrics] {
    var session = try run.session(steps)
    var metrics: [StepMetrics] = []
    while session.nextStep <= 5 {
      metrics.append(try session.runStep())
      if session.nextStep == 3 { _ = try session.evaluate() }
      try session.freeze()
    }
    try session.commit()
    session.finishTrace()
    #expect(session.takeTraceNote()?.contains(run.path) == true)
    return metrics
  }

  private static let traced = Result {
    var run = try TracedRun()
    try run.lowerBudget()
    try run.run.directory.write("what was there", "trace.json")
    let metrics = try fiveSteps(run, 2...3)
    return (run: run, metrics: metrics, timeline: try Timeline(run.path))
  }

  @Test func theStepsAskedForAreThereAndNoOthers() throws {
    let (run, _, timeline) = try Self.traced.get()
    #expect(timeline.steps.map(\.name) == ["step 2", "step 3"])
    #expect(timeline.dropped == 0)
    let names = try FileManager.default.contentsOfDirectory(atPath: run.run.directory.path)
    #expect(names.contains("trace.json") && !names.contains("trace.json.partial"))
    // What lies between them is there, what comes before and after is not.
    for (name, category) in [("evaluation", "compute"), ("commit freeze", "commit")] {
      let between = timeline.training(name)
      #expect(between.count == 1 && between[0].category == category)
      #expect(timeline.steps[0].end <= between[0].start)
      #expect(between[0].end <= timeline.steps[1].start)
    }
    for event in timeline.training where !["evaluation", "commit freeze"].contains(event.name) {
      #expect(timeline.steps.contains { $0.contains(event) }, "\(event.name)")
    }
  }

  @Test func eventsNestInEveryRow() throws {
    let timeline = try Self.traced.get().timeline
    timeline.expectNesting()
    #expect(
      timeline.names("thread_name").prefix(3) == [
        "training thread", "loops of worker 0, the training thread", "loops of worker 1",
      ])
    let paths = try Self.traced.get().run.run.storePaths
    let rows = timeline.names("process_name")
    #expect(Set(rows) == Set(["pagoda"] + paths.map { "disk: \($0)" }) && rows.count == 3)
  }

  /// Every layer and every expert, forward and backward, with its rows.
  @Test func sweepsShowTheirLayersAndExperts() throws {
    let (_, metrics, timeline) = try Self.traced.get()
    let layers = ["encoder layer 0", "encoder layer 1", "decoder layer 0", "decoder layer 1"]
    for (step, line) in zip(timeline.steps, metrics[1...]) {
      let forward = try #require(timeline.training("forward").during(step).first)
      let backward = try #require(timeline.training("backward").during(step).first)
      let shown = timeline.training.filter { $0.name.contains(" layer ") }
      #expect(shown.during(forward).map(\.name) == layers)
      #expect(shown.during(backward).map(\.name) == layers.reversed())
      let experts = timeline.training.filter { $0.name.hasPrefix("expert ") }
      // Two slices each.
      #expect(experts.during(forward).count == 2 * line.experts_touched)
      #expect(experts.during(backward).count == 2 * line.experts_touched)
      #expect(experts.during(step).allSatisfy { $0.integer("rows") > 0 })
      #expect(timeline.training("update").during(backward).count == 2 * line.experts_touched)
      for name in ["loss", "dense update"] {
        #expect(timeline.training(name).during(step).count == 1)
      }
      #expect(timeline.training("embedding").during(step).count == 3)
      #expect(timeline.training("save dense part").during(forward).count > 0)
    }
  }

  /// Forward, backward, update and both stalls are disjoint, add up to the step, and are the sums of
  /// what is drawn.
  @Test func partsAddUpToTheStep() throws {
    let (_, metrics, timeline) = try Self.traced.get()
    for line in metrics { expectSum(line) }
    for (step, line) in zip(timeline.steps, metrics[1...]) {
      let waits = timeline.training("stall").during(step)
      let routerWaits = timeline.training("router stall").during(step)
      #expect(close([step].seconds, line.step_s))
      #expect(close(waits.seconds, line.stall_s))
      #expect(close(routerWaits.seconds, line.router_stall_s))
      // What is read ahead of the gate may leave nothing of the router's to wait for.
      #expect(line.router_stall_s >= 0 && line.stall_s > 0)
      let updates = timeline.training("update") + timeline.training("dense update")
      #expect(close(updates.during(step).seconds, line.update_s))
      let forward = try #require(timeline.training("forward").during(step).first)
      let waited = (waits + routerWaits).during(forward).seconds
      #expect(close([forward].seconds - waited, line.forward_s))
      for wait in waits + routerWaits {
        let causes = ["read", "write", "slot"]
        #expect(causes.contains(wait.text("cause") ?? ""))
      }
    }
  }

  private func close(_ one: Double, _ other: Double) -> Bool { abs(one - other) < 1e-8 }

  private func expectSum(_ line: StepMetrics, sourceLocation: SourceLocation = #_sourceLocation) {
    let parts = [
      line.forward_s, line.backward_s, line.update_s, line.stall_s, line.router_stall_s,
    ]
    #expect(parts.allSatisfy { $0 > -1e-9 }, sourceLocation: sourceLocation)
    #expect(close(parts.reduce(0, +), line.step_s), sourceLocation: sourceLocation)
  }

  /// The router alone is waited for where the first expert of a layer is read, going forward.
  @Test func routerStallsAreThoseOfFirstExperts() throws {
    let timeline = try Self.traced.get().timeline
    let layers = timeline.training.filter { $0.name.contains(" layer ") }
    let forward = timeline.training("forward")
    let firsts = layers.filter { layer in forward.contains { $0.contains(layer) } }.compactMap {
      layer in timeline.training.filter { $0.name.hasPrefix("expert ") }.during(layer).first
    }
    // Every second layer has experts.
    #expect(firsts.count == 2 * timeline.steps.count)
    for stall in timeline.training("router stall") {
      #expect(firsts.contains { $0.contains(stall) })
    }
    for stall in timeline.training("stall") {
      #expect(!firsts.contains { $0.contains(stall) })
    }
  }

  /// Every read and write of a step with its bytes, on the path that it went to.
  @Test func transfersAddUpToTheBytesOfTheStep() throws {
    let (run, metrics, timeline) = try Self.traced.get()
    for (step, line) in zip(timeline.steps, metrics[1...]) {
      for (category, bytes) in [("read", line.read_bytes), ("write", line.write_bytes)] {
        let transfers = timeline.transfers(category).during(step)
        #expect(bytes > 0 && transfers.reduce(0) { $0 + $1.integer("bytes") } == bytes)
        #expect(Set(transfers.map(\.process)).count == run.run.storePaths.count)
        #expect(transfers.allSatisfy { $0.text("planes") != nil && $0.duration > 0 })
      }
    }
    let all = timeline.transfers("read") + timeline.transfers("write")
    #expect(all.allSatisfy { event in timeline.steps.contains { $0.start <= event.start } })
    let experts = all.filter { $0.integer("expert") >= 0 }
    let dense = all.filter { $0.integer("dense_block") >= 0 }
    #expect(!dense.isEmpty && experts.count + dense.count == all.count)
    #expect(Set(experts.map { $0.integer("moe_layer") }) == [0, 1])
  }

  /// What is in flight goes up and comes down to nothing; frames are never more than there are.
  @Test func levelsStayInTheirBounds() throws {
    let timeline = try Self.traced.get().timeline
    let bytes = timeline.events.filter { $0.phase == "C" && $0.name == "bytes in flight" }
    let frames = timeline.events.filter { $0.phase == "C" && $0.name == "frames in use" }
    #expect(bytes.count == frames.count && bytes.count > 100)
    #expect(bytes.contains { $0.integer("read") > 0 } && bytes.contains { $0.integer("write") > 0 })
    #expect(bytes.allSatisfy { $0.integer("read") >= 0 && $0.integer("write") >= 0 })
    #expect(bytes.last?.integer("read") == 0)
    #expect(frames.allSatisfy { 0...4 ~= $0.integer("weights") && 0...4 ~= $0.integer("state") })
  }

  /// Both workers took part in loops of both steps.
  @Test func workersShowTheirLoops() throws {
    let timeline = try Self.traced.get().timeline
    for thread in [2, 3] {
      let loops = timeline.spans.filter { $0.process == 1 && $0.thread == thread }
      for step in timeline.steps {
        #expect(!loops.during(step).isEmpty)
        #expect(loops.during(step).allSatisfy { step.contains($0) && $0.integer("tasks") > 0 })
      }
    }
  }

  @Test func tracedAndUntracedComputeTheSame() throws {
    let (traced, metrics, _) = try Self.traced.get()
    let run = try TinyRun()
    let untraced = try run.train(to: 5)
    #expect(metrics.map(\.computed) == untraced.map(\.computed))
    #expect(try traced.run.checksums() == run.checksums())
  }

  /// Without a range, the first steps of each process.
  @Test func theFirstStepsAreTheDefault() throws {
    var run = try TracedRun()
    run.run.config.training.max_steps = 20
    for first in [1, 8] {
      var session = try run.session()
      while session.nextStep < first + 7 { _ = try session.runStep() }
      try session.commit()
      #expect(session.takeTraceNote()?.contains("ui.perfetto.dev") == true)
      let expected = (first..<first + TraceRequest.firstSteps).map { "step \($0)" }
      #expect(try Timeline(run.path).steps.map(\.name) == expected)
    }
  }

  /// The exact global norm has a sweep of its own.
  @Test func theSweepForTheNormIsShown() throws {
    var run = try TracedRun()
    run.run.config.training.clip = "global"
    var session = try run.session(1...1)
    let line = try session.runStep()
    session.finishTrace()
    expectSum(line)
    let timeline = try Timeline(run.path)
    timeline.expectNesting()
    let norm = try #require(timeline.training("gradient norm").first)
    #expect(try #require(timeline.training("backward").first).contains(norm))
    #expect(timeline.training("loss").count == 2)
  }

  /// Where the dense part and the boundaries are paged, too: the same sums, the scratch by itself.
  @Test func everythingThatIsPagedIsShown() throws {
    var run = try TracedRun()
    run.run.config.memory.dense = "paged"
    run.run.config.memory.spill = "always"
    try run.lowerBudget()
    let metrics = try Self.fiveSteps(run, 2...3)
    let timeline = try Timeline(run.path)
    timeline.expectNesting()
    #expect(timeline.dropped == 0 && timeline.names("process_name").count == 3)
    for (step, line) in zip(timeline.steps, metrics[1...]) {
      expectSum(line)
      for (category, bytes) in [("read", line.read_bytes), ("write", line.write_bytes)] {
        let transfers = timeline.transfers(category).during(step)
        #expect(transfers.reduce(0) { $0 + $1.integer("bytes") } == bytes)
        #expect(transfers.contains { $0.integer("dense_block") >= 0 })
        #expect(!timeline.transfers("scratch " + category).during(step).isEmpty)
      }
      let waits = timeline.training("stall") + timeline.training("router stall")
      #expect(close(waits.during(step).seconds, line.stall_s + line.router_stall_s))
    }
  }

  /// A run that fails leaves what was drawn, the broken step included.
  @Test func aFailedStepIsShownAsFarAsItWent() throws {
    var run = try TracedRun()
    run.run.config.training.learning_rate = 1e30
    run.run.config.training.warmup_steps = 0
    run.run.config.training.clip = "none"
    var session = try run.session(1...100)
    var made = 0
    #expect(throws: TrainingError.self) {
      while session.nextStep <= 10 {
        _ = try session.runStep()
        made += 1
      }
    }
    // Before it has its name it is whole already.
    let partial = try Timeline(run.path + ".partial")
    session.finishTrace()
    let timeline = try Timeline(run.path)
    #expect(timeline.steps.count == made && timeline.events.count == partial.events.count)
    #expect(timeline.training("embedding").count > 3 * made)
    timeline.expectNesting()
  }

  /// Steps that are over, or that the run does not come to: a word, and nothing is touched.
  @Test func stepsThatAreNotMadeAreNotTraced() throws {
    let run = try TracedRun()
    try run.run.directory.write("precious", "trace.json")
    do {
      var session = try run.session(7...9)
      _ = try session.runStep()
      try session.commit()
      session.finishTrace()
      #expect(session.takeTraceNote()?.contains("before step 7") == true)
    }
    var session = try run.session(1...1)
    #expect(session.takeTraceNote()?.contains("have been made already") == true)
    _ = try session.runStep()
    session.finishTrace()
    #expect(session.takeTraceNote() == nil)
    #expect(try String(contentsOfFile: run.path, encoding: .utf8) == "precious")
    let names = try FileManager.default.contentsOfDirectory(atPath: run.run.directory.path)
    #expect(!names.contains("trace.json.partial"))
  }

  /// A file that cannot be written any more ends the timeline, not the run.
  @Test func aLostFileEndsTheTimelineAlone() throws {
    var run = try TracedRun()
    let gone = run.run.directory.path + "/gone"
    run.run.config.training.max_steps = 4
    var session = try TrainingSession(
      run.run.config, storePaths: run.run.storePaths, profiles: run.run.profiles,
      trace: TraceRequest(path: gone + "/trace.json", steps: 1...3))
    let metrics = try (1...4).map { _ in try session.runStep() }
    let note = session.takeTraceNote() ?? "nothing"
    #expect(note.contains("the timeline ends here") && note.contains(gone), "\(note)")
    #expect(metrics.map(\.step) == [1, 2, 3, 4])
    session.finishTrace()
    #expect(session.takeTraceNote() == nil)
  }
}

import Base
import Storage
import TestSupport
import Testing
import Training

/// The first promise: what is computed depends on the configuration alone. Losses and every bit of
/// weights and moments are equal for every budget, resident or paged, engine, number of threads and
/// of paths.
@Suite struct SameBitsTests {
  struct Variant: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let change: @Sendable (inout TinyRun) throws -> Void
  }

  private static let steps = 5

  /// Computed once: resident, one thread, io_uring where there is any.
  private static let reference = Result {
    var run = try TinyRun()
    run.config.memory.resident = true
    run.config.memory.budget = "1GiB"
    return (metrics: try run.train(to: steps), checksums: try run.checksums())
  }

  static let variants: [Variant] = [
    Variant(testDescription: "the least budget") {
      $0.config.memory.budget = "\(try $0.leastBudget())"
    },
    Variant(testDescription: "half a MiB more than the least") {
      $0.config.memory.budget = "\(try $0.leastBudget() + 1 << 19)"
    },
    Variant(testDescription: "the least budget with the dense part in memory") {
      $0.config.memory.dense = "resident"
      $0.config.memory.budget = "\(try $0.leastBudget())"
    },
    Variant(testDescription: "all experts in memory, the dense part paged") {
      $0.config.memory.dense = "paged"
      $0.config.memory.budget = "1GiB"
      $0.config.compute.threads = 2
    },
    Variant(testDescription: "the least budget on threads instead of io_uring") {
      $0.config.memory.budget = "\(try $0.leastBudget())"
      $0.config.storage.engine = "threads"
      $0.config.storage.request_bytes = "4KiB"
    },
    Variant(testDescription: "two worker threads, a short queue") {
      $0.config.compute.threads = 2
      $0.config.memory.budget = "\(try $0.leastBudget())"
      $0.config.storage.queue_depth = 2
    },
    Variant(testDescription: "frames spread over the memory nodes") {
      $0.config.memory.numa = "interleave"
      $0.config.compute.threads = 3
      $0.config.memory.budget = "\(try $0.leastBudget())"
    },
    Variant(testDescription: "frames wherever the kernel puts them") {
      $0.config.memory.numa = "off"
      $0.config.memory.budget = "\(try $0.leastBudget())"
    },
    Variant(testDescription: "requests begun and ended between experts only") {
      $0.config.memory.budget = "\(try $0.leastBudget())"
      $0.config.storage.io_thread = false
    },
    Variant(testDescription: "two paths") {
      $0.config.memory.budget = "\(try $0.leastBudget())"
      $0.config.storage.paths = [$0.directory.path + "/a", $0.directory.path + "/b"]
    },
    Variant(testDescription: "three paths in turns, driven as measured") {
      $0.config.memory.budget = "\(try $0.leastBudget())"
      $0.config.storage.paths = ["a", "b", "c"].map { [directory = $0.directory] name in
        directory.path + "/" + name
      }
      try $0.profiles.remember(
        DriveProfile(
          requestBytes: 4096, queueDepth: 3, mixGBps: [1, 1, 1, 1, 1], alternatedGBps: 2,
          measuredAt: 0), of: $0.directory.path)
    },
  ]

  @Test(arguments: variants) func everyVariantComputesTheSame(_ variant: Variant) throws {
    let reference = try Self.reference.get()
    var run = try TinyRun()
    try variant.change(&run)
    let metrics = try run.train(to: Self.steps)
    #expect(metrics.map(\.computed) == reference.metrics.map(\.computed))
    let checksums = try run.checksums()
    #expect(checksums.count == reference.checksums.count)
    #expect(checksums == reference.checksums)
  }

  /// A variant that did not page would prove nothing.
  @Test func theLeastBudgetPagesAndTheResidentRunDoesNot() throws {
    var run = try TinyRun()
    run.config.memory.budget = "\(try run.leastBudget())"
    let paged = try run.train(to: Self.steps)
    #expect(paged.dropFirst().allSatisfy { $0.read_bytes > 0 && $0.write_bytes > 0 })
    let resident = try Self.reference.get().metrics
    #expect(resident.allSatisfy { $0.read_bytes == 0 })
  }

  @Test func evaluationsChangeNothing() throws {
    let reference = try Self.reference.get()
    let run = try TinyRun()
    var session = try run.session()
    var metrics: [StepMetrics] = []
    while session.nextStep <= Self.steps {
      metrics.append(try session.runStep())
      _ = try session.evaluate()
    }
    #expect(metrics.map(\.computed) == reference.metrics.map(\.computed))
  }

  /// Stopped and continued, also with another budget, engine and thread count: the same bits.
  @Test func aResumedRunComputesTheSame() throws {
    let reference = try Self.reference.get()
    var run = try TinyRun()
    run.config.memory.budget = "\(try run.leastBudget())"
    var metrics = try run.train(to: 2)
    run.config.memory.budget = "1GiB"
    run.config.compute.threads = 2
    run.config.storage.engine = "threads"
    metrics += try run.train(to: Self.steps)
    #expect(metrics.map(\.computed) == reference.metrics.map(\.computed))
    #expect(try run.checksums() == reference.checksums)
  }

  /// Steps after the last commit are lost with the process and done again, bit for bit.
  @Test func uncommittedStepsAreDoneAgain() throws {
    let reference = try Self.reference.get()
    var run = try TinyRun()
    run.config.memory.budget = "\(try run.leastBudget())"
    do {
      var session = try run.session()
      _ = try session.runStep()
      try session.commit()
      _ = try session.runStep()
      _ = try session.runStep()
    }
    let metrics = try run.train(to: Self.steps)
    #expect(metrics.map(\.step) == [2, 3, 4, 5])
    #expect(metrics.map(\.computed) == reference.metrics.dropFirst().map(\.computed))
    #expect(try run.checksums() == reference.checksums)
  }

  enum Memory: CaseIterable { case resident, least }

  /// A commit after every step, each made durable beside the next: nothing that is computed
  /// changes, and the generation that was frozen last before the end of the process is not yet one.
  @Test(arguments: Memory.allCases) func commitsBesideTheNextStep(_ memory: Memory) throws {
    let reference = try Self.reference.get()
    var run = try TinyRun()
    run.config.checkpoint.keep = 3
    run.config.memory.budget = memory == .least ? "\(try run.leastBudget())" : "1GiB"
    var metrics: [StepMetrics] = []
    do {
      var session = try run.session()
      while session.nextStep < Self.steps {
        metrics.append(try session.runStep())
        try session.freeze()
      }
      let durable = try run.reader().generations.map(\.step)
      #expect(durable.last.map { $0 >= Self.steps - 3 } == true, "\(durable)")
    }
    #expect(metrics.map(\.computed) == reference.metrics.dropLast().map(\.computed))
    let last = try #require(run.reader().generation?.step)
    let more = try run.train(to: Self.steps)
    #expect(more.map(\.step) == Array(last + 1...Self.steps))
    #expect(more.map(\.computed) == reference.metrics[last...].map(\.computed))
    #expect(try run.checksums() == reference.checksums)
    let report = try run.reader().scrub()
    #expect(report.isWhole && report.wholeGenerations.count == 3)
  }

  /// Goes back to an older generation, and another way forward: the same bits again.
  @Test func whatIsRolledBackIsDoneAgain() throws {
    let reference = try Self.reference.get()
    var run = try TinyRun()
    run.config.checkpoint.keep = 4
    for step in 1...4 { _ = try run.train(to: step) }
    try run.alone().rollBack(to: 2)
    let metrics = try run.train(to: Self.steps)
    #expect(metrics.map(\.step) == [3, 4, 5])
    #expect(metrics.map(\.computed) == reference.metrics[2...].map(\.computed))
    #expect(try run.checksums() == reference.checksums)
  }

  /// A drive more, another one drained, the manifest's own drained, the store compacted and
  /// continued from a snapshot of it: the same bits.
  @Test func directoriesComeAndGo() throws {
    let reference = try Self.reference.get()
    var run = try TinyRun()
    run.config.memory.budget = "\(try run.leastBudget())"
    let all = ["a", "b", "c"].map { run.directory.path + "/" + $0 }
    run.config.storage.paths = [all[0]]
    var metrics = try run.train(to: 1)
    run.config.storage.paths = all
    metrics += try run.train(to: 2)
    try run.alone().drain(all[1])
    metrics += try run.train(to: 3)
    try run.alone().drain(all[0])
    metrics += try run.train(to: 4)
    _ = try run.alone().compact()
    let copy = run.directory.path + "/copy"
    _ = try run.reader().snapshot(to: copy)
    run.config.storage.paths = [copy]
    metrics += try run.train(to: Self.steps)
    #expect(metrics.map(\.computed) == reference.metrics.map(\.computed))
    #expect(try run.checksums() == reference.checksums)
  }
}

import Base
import BenchHarness
import Foundation
import Paging
import Storage
import Training

/// What commits cost, and how fast a run is back.
///
///     swift run -c release CommitBench CONFIG MEMORY [PAIRS [STEPS]] [key.path=value ...]
///
/// One run in a scratch directory under `runs`. After steps that are not counted, windows of STEPS
/// steps (10) take turns: one begins with a commit, which becomes durable beside its steps or is
/// waited for at its end, the other has none. Then commits that are waited for, and the run opened again, one step done.
/// Prints one line of JSON: how long training paused for a commit and what share of a step that is,
/// the ratio of the windows' times, and the times of the rest, all medians.
@main
enum CommitBench {
  private struct Arguments {
    let config: RunConfig
    let pairs: Int
    let steps: Int

    init(_ arguments: [String]) throws {
      let positional = arguments.filter { !$0.contains("=") }
      let overrides = arguments.filter { $0.contains("=") }
      let numbers = positional.dropFirst(2).map { Int($0) ?? 0 }
      guard 2...4 ~= positional.count, numbers.allSatisfy({ $0 > 0 }) else {
        print("usage: CommitBench CONFIG MEMORY [PAIRS [STEPS]] [key.path=value ...]")
        exit(64)
      }
      config = try RunConfig.load(
        path: positional[0], overrides: overrides + ["memory.budget=\(positional[1])"])
      pairs = numbers.first ?? 5
      steps = numbers.count > 1 ? numbers[1] : 10
    }
  }

  private struct Report: Encodable {
    let bench = "commit"
    let commit = Provenance.commit
    let date = Provenance.date
    let machine = Machine.this
    /// Of the losses.
    let checksum: String
    /// Weights and moments in the store.
    let stateBytes: Int
    let memoryBytes: Int
    let stepSeconds: Double
    let pauseSeconds: Double
    let pauseSecondsMax: Double
    /// Of a step.
    let pauseShare: Double
    /// From freeze to durable, beside training.
    let durableSeconds: Double
    /// Time of a window with a commit to that of the window without beside it.
    let windowRatio: Double
    let windowRatios: [Double]
    /// A commit that is waited for.
    let waitedSeconds: [Double]
    /// From the start of opening to the first step, and to its end.
    let resumeSeconds: Double
    let resumedStepSeconds: Double
  }

  static func main() throws {
    let arguments = try Arguments(CommandLine.arguments.dropFirst().map { $0 })
    let scratch = "runs/commit-bench-\(getpid())"
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: scratch) }
    try printLine(try measure(arguments, store: "\(scratch)/store"))
  }

  private static func measure(_ arguments: Arguments, store: String) throws -> Report {
    var run = Measurement()
    var waited: [Double] = []
    var stateBytes = 0
    do {
      var session = try TrainingSession(arguments.config, storePaths: [store])
      // The first steps draw the initial weights, and the disk sees its blocks for the first time.
      for _ in 0..<3 { _ = try session.runStep() }
      for _ in 0..<arguments.pairs {
        try run.window(&session, steps: arguments.steps, commits: true)
        try run.window(&session, steps: arguments.steps, commits: false)
      }
      for _ in 0..<3 {
        _ = try session.runStep()
        waited.append(try seconds { try session.commit() })
      }
      stateBytes = session.store.writtenBlocks.count * session.store.geometry.recordBytes
    }
    var resumed: TrainingSession?
    let resumeSeconds = try seconds {
      resumed = try TrainingSession(
        arguments.config, storePaths: [store], beginning: .resume)
    }
    let stepSeconds = try seconds { _ = try resumed!.runStep() }
    let step = median(run.steps)
    return Report(
      checksum: run.losses.text, stateBytes: stateBytes,
      memoryBytes: try arguments.config.bytes(
        arguments.config.memory.budget, key: "memory.budget"),
      stepSeconds: step, pauseSeconds: median(run.pauses), pauseSecondsMax: run.pauses.max() ?? 0,
      pauseShare: median(run.pauses) / step, durableSeconds: median(run.durable),
      windowRatio: median(run.ratios), windowRatios: run.ratios, waitedSeconds: waited,
      resumeSeconds: resumeSeconds, resumedStepSeconds: stepSeconds)
  }

  private struct Measurement {
    var steps: [Double] = []
    var pauses: [Double] = []
    var durable: [Double] = []
    private var withCommit: [Double] = []
    private var without: [Double] = []
    private(set) var losses = Checksum()
    var ratios: [Double] { zip(withCommit, without).map { $0 / $1 } }

    mutating func window(
      _ session: inout TrainingSession, steps count: Int, commits: Bool
    ) throws {
      let start = ContinuousClock.now
      if commits {
        pauses.append(try CommitBench.seconds { try session.freeze() })
      }
      for _ in 0..<count {
        let metrics = try session.runStep()
        steps.append(metrics.step_s)
        losses.add(metrics.loss)
        noteDurable(&session)
      }
      if commits {
        // A slow drive takes longer than the window: the rest is waited for, and counted as its cost.
        try session.finishCommit()
        noteDurable(&session)
      }
      let spent = (ContinuousClock.now - start).seconds
      if commits { withCommit.append(spent) } else { without.append(spent) }
    }

    private mutating func noteDurable(_ session: inout TrainingSession) {
      if let generation = session.takeDurable() { durable.append(generation.seconds) }
    }
  }

  fileprivate static func seconds(_ body: () throws -> Void) rethrows -> Double {
    let start = ContinuousClock.now
    try body()
    return (ContinuousClock.now - start).seconds
  }
}

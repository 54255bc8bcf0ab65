import ArgumentParser
import Base
import BenchHarness
import Foundation
import Paging
import Storage
import Training

/// What commits cost, and how fast a run is back.
@main
struct CommitBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measures what a commit costs, and how fast a run is back.",
    discussion: """
      One run in a directory below --scratch, which is removed. After steps that are not counted, \
      windows of STEPS steps take turns: one begins with a commit, which becomes durable beside its \
      steps or is waited for at its end, the other, the ceiling, has none. Then commits that are \
      waited for, and the run opened again, one step done. Prints one line of JSON: how long \
      training paused for a commit and what share of a step that is, the ratio of the windows' \
      speeds, and the times of the rest, all medians.

        .build/release/CommitBench tools/examples/quickstart.yaml 512MiB 8
      """)

  @Argument(help: "The configuration, a YAML file.") var config: String
  @Argument(help: "The ceiling on memory, such as 512MiB.") var memory: String
  @Argument(
    help: ArgumentHelp(
      "Pairs of windows (5), steps of each (10), and overrides, key.path=value.",
      valueName: "more"))
  var more: [String] = []
  @Option(help: "Where the store is made and removed: on the drive to be measured.")
  var scratch = "runs"

  private var numbers: [Int] {
    get throws {
      try more.filter { !$0.contains("=") }.map { word in
        guard let number = Int(word), number > 0 else {
          throw ValidationError("\(word) is neither a positive number nor key.path=value")
        }
        return number
      }
    }
  }

  func validate() throws {
    guard try numbers.count <= 2 else { throw ValidationError("pairs, then steps of a window") }
  }

  private struct Ceiling: Encodable {
    let name = "steps without a commit"
    let stepSeconds: Double
  }

  private struct Report: Encodable {
    let bench = "commit"
    let commit = Provenance.commit
    let date = Provenance.date
    let machine = Machine.this
    /// Of the losses.
    let checksum: String
    /// Windows without a commit.
    let ceiling: Ceiling
    /// Of the speed of a window with a commit to that of the window without beside it.
    let ratio: Double
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

  func run() throws {
    let config = try RunConfig.load(
      path: config, overrides: more.filter { $0.contains("=") } + ["memory.budget=\(memory)"])
    let scratch = try ScratchDirectory(in: scratch)
    defer { extendLifetime(scratch) }
    try printLine(try measure(config, store: "\(scratch.path)/store"))
  }

  private func measure(_ config: RunConfig, store: String) throws -> Report {
    let (pairs, steps) = (try numbers.first ?? 5, try numbers.dropFirst().first ?? 10)
    var run = Measurement()
    var waited: [Double] = []
    var stateBytes = 0
    do {
      var session = try TrainingSession(config, storePaths: [store])
      // The first steps draw the initial weights, and the disk sees its blocks for the first time.
      for _ in 0..<3 { _ = try session.runStep(mayHold: false) }
      for _ in 0..<pairs {
        try run.window(&session, steps: steps, commits: true)
        try run.window(&session, steps: steps, commits: false)
      }
      for _ in 0..<3 {
        _ = try session.runStep(mayHold: false)
        waited.append(try seconds { try session.commit() })
      }
      stateBytes = session.store.writtenBlocks.count * session.store.geometry.recordBytes
    }
    var resumed: TrainingSession?
    let resumeSeconds = try seconds {
      resumed = try TrainingSession(config, storePaths: [store], beginning: .resume)
    }
    let stepSeconds = try seconds { _ = try resumed!.runStep() }
    let step = median(run.steps)
    return Report(
      checksum: run.losses.text,
      ceiling: Ceiling(stepSeconds: median(run.without) / Double(steps)),
      ratio: 1 / median(run.ratios), stateBytes: stateBytes,
      memoryBytes: try config.bytes(config.memory.budget, key: "memory.budget"),
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
    private(set) var without: [Double] = []
    private(set) var losses = Checksum()
    var ratios: [Double] { zip(withCommit, without).map { $0 / $1 } }

    mutating func window(
      _ session: inout TrainingSession, steps count: Int, commits: Bool
    ) throws {
      let start = ContinuousClock.now
      if commits {
        pauses.append(try seconds { try session.freeze() })
      }
      for index in 0..<count {
        // As the trainer does: a freeze may follow the last one.
        let metrics = try session.runStep(mayHold: index < count - 1)
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
}

package import Base
package import DirectIO
import Foundation
package import PinnedMemory
package import Storage

/// What a run tells whoever watches it.
package enum TrainingEvent: Sendable {
  /// The session is open; `firstStep` is the next to be run.
  case opened(firstStep: Int, lastStep: Int, memory: [MemoryLedger.Grant])
  case note(String)
  case step(StepMetrics, lastStep: Int)
  case evaluated(EvaluationReport, unigramEntropy: Double)
  /// The generation of `step` is durable, `seconds` after it was frozen.
  case committed(step: Int, seconds: Double)
}

/// How a run ended.
package struct TrainingOutcome: Sendable {
  /// Whether the last step was reached; otherwise a stop was asked for.
  package let isFinished: Bool
  package let progress: RunProgress
  package let evaluations: [EvaluationReport]
  package let unigramEntropy: Double
  package let unigramLossByTask: [String: Double]
  package let expertStateBytes: Int
  package let expertParameters: Int
  package let denseParameters: Int
  /// What this process moved on each path of the store.
  package let paths: [PathCounters]
  /// Where the pages of its pools were at the end.
  package let pools: [RegionPlace]
  /// What the memory ceiling was shared out to.
  package let memory: [MemoryLedger.Grant]
  /// Seconds of this process's commits: how long training paused for each, and how long each took
  /// from freeze to durable.
  package let commitPauses: [Double]
  package let commitSeconds: [Double]
}

/// Runs steps until the last one or until asked to stop; measures, evaluates and commits on the
/// way. The same call again continues where the last generation is.
package struct Trainer {
  package private(set) var config: RunConfig
  package let run: RunDirectory
  /// The step to end with; `training.max_steps` unless told otherwise.
  package let lastStep: Int
  package let start: Start

  package enum Start: Sendable {
    /// Continues where there is something to continue.
    case either
    /// Refuses to begin anew.
    case resume
    /// Deletes the run that is there, once everything else has been found in order.
    case fresh
  }

  /// Measures the drive under a directory with so many bytes of memory at most; nil when it cannot.
  /// Called before a store is made on a drive of which nothing is remembered, if the configuration
  /// leaves something to measurement.
  package typealias MeasureDrive = (_ directory: String, _ memoryBytes: Int) -> DriveProfile?
  private let profiles: DriveProfiles
  private let measureDrive: MeasureDrive
  private let trace: TraceRequest?

  package init(
    _ config: RunConfig, run: RunDirectory, lastStep: Int?, start: Start = .either,
    trace: TraceRequest? = nil, profiles: DriveProfiles = .ofUser,
    measureDrive: @escaping MeasureDrive = { _, _ in nil }
  ) {
    self.trace = trace
    self.profiles = profiles
    self.measureDrive = measureDrive
    self.config = config.resolved(in: run)
    self.run = run
    self.lastStep = lastStep ?? config.training.max_steps
    self.start = start
  }

  /// Where the store of `config` lives.
  package static func storePaths(_ config: RunConfig, _ run: RunDirectory) -> [String] {
    config.storage.paths.isEmpty ? [run.store] : config.storage.paths
  }

  /// - Parameters:
  ///   - isStopping: asked after every step; true ends the run with a commit.
  ///   - observe: told of every event, on this thread.
  package mutating func train(
    isStopping: @escaping () -> Bool, observe: @escaping (TrainingEvent) -> Void
  ) throws -> TrainingOutcome {
    var hasBegun = try start != .fresh && takeUpStore()
    var start = start
    var fallenBackTo: Int?
    while true {
      do {
        return try train(hasBegun: hasBegun, start, isStopping, observe)
      } catch let error as StorageError {
        // Nothing durable needs the record: what was computed since then is computed again.
        guard let generation = error.generationBefore, generation != fallenBackTo else {
          throw error
        }
        observe(.note("\(error); going back to generation \(generation)"))
        (hasBegun, start, fallenBackTo) = (true, .resume, generation)
      }
    }
  }

  private func train(
    hasBegun: Bool, _ start: Start, _ isStopping: @escaping () -> Bool,
    _ observe: @escaping (TrainingEvent) -> Void
  ) throws -> TrainingOutcome {
    var session = try open(hasBegun: hasBegun, start)
    session.whileReaderWaits = waiting(isStopping, observe)
    try run.claim(for: config)
    for note in session.notes { observe(.note(note)) }
    observe(
      .opened(
        firstStep: session.nextStep, lastStep: lastStep, memory: session.ledger.grants))
    var log = try RunLog(run, upTo: session.progress.step)
    var commits = CommitClock(config.checkpoint)
    defer {
      session.finishTrace()
      if let note = session.takeTraceNote() { observe(.note(note)) }
    }

    while session.nextStep <= lastStep && !isStopping() {
      // What looks at all weights next should not find updates that have yet to be made.
      let next = session.nextStep
      let isLookedAt =
        next >= lastStep || commits.isDue(next) || config.evaluation.isDue(next)
      let metrics = try session.runStep(mayHold: !isLookedAt)
      try log.append(metrics)
      observe(.step(metrics, lastStep: lastStep))
      if let note = session.takeTraceNote() { observe(.note(note)) }
      commits.take(from: &session, observe)
      let isLast = session.nextStep > lastStep
      if session.canEvaluate && (isLast || config.evaluation.isDue(session.progress.step)) {
        let report = try session.evaluate()
        try log.append(report)
        observe(.evaluated(report, unigramEntropy: session.unigramEntropy))
      }
      if isLast || commits.isDue(session.progress.step) || isStopping() {
        try commits.freeze(&session, log.syncers)
      }
    }
    // A signal may have come between the look at the end of a step and the one at the next.
    if session.progress.step > 0 { try commits.freeze(&session, log.syncers) }
    try session.finishCommit()
    commits.take(from: &session, observe)
    return outcome(session, log, commits)
  }

  /// What is done while somebody reads an older generation and the store has no room for another.
  private func waiting(
    _ isStopping: @escaping () -> Bool, _ observe: @escaping (TrainingEvent) -> Void
  ) -> () throws(StorageError) -> Void {
    let path = Self.storePaths(config, run)[0]
    var hasTold = false
    return { () throws(StorageError) in
      if !hasTold {
        observe(
          .note(
            "waiting: somebody reads an older generation of the store (a snapshot, a "
              + "translation), and the disk has no room for another; checkpoint.keep gives it more")
        )
      }
      hasTold = true
      if isStopping() { throw .stoppedWaiting(path: path) }
    }
  }

  private func outcome(
    _ session: borrowing TrainingSession, _ log: RunLog, _ commits: CommitClock
  ) -> TrainingOutcome {
    TrainingOutcome(
      isFinished: session.nextStep > lastStep, progress: session.progress,
      evaluations: log.evaluations, unigramEntropy: session.unigramEntropy,
      unigramLossByTask: session.unigramLossByTask,
      expertStateBytes: session.expertStateBytes, expertParameters: session.expertParameters,
      denseParameters: session.denseParameters, paths: session.store.disk.pathCounters,
      pools: session.poolPlaces, memory: session.ledger.grants, commitPauses: commits.pauses,
      commitSeconds: commits.seconds)
  }

  /// Checks that the run in the directory, if there is one, is this one, and finds its store where
  /// its configuration says.
  /// - Returns: whether there is one.
  private mutating func takeUpStore() throws -> Bool {
    try run.check(for: config)
    guard let saved = try run.savedConfig() else { return false }
    if config.storage.paths.isEmpty {
      config.storage.paths = saved.storage.paths
    } else if !Store.isThere(config.storage.paths) {
      // A drive that is not mounted, or another directory than before.
      throw TrainingError.storesMoved(
        path: run.path, found: Self.storePaths(saved, run), wanted: config.storage.paths)
    }
    return true
  }

  /// Translating keeps all of the dense part in memory, also where training pages it.
  private func requireMemoryOfTranslations() throws {
    let memory = try config.bytes(config.memory.budget, key: "memory.budget")
    do {
      try TextGenerator.requireMemory(config, memory: memory)
    } catch let error as MemoryRefusal {
      var refusal = error
      refusal.savings = ["evaluation.translations=0"]
      throw refusal
    }
  }

  /// The session in its directory; a start that is refused leaves no new directory behind.
  /// - Parameter hasBegun: the store must be there: a drive that is not mounted must not look like
  ///   a new beginning.
  private func open(hasBegun: Bool, _ start: Start) throws -> TrainingSession {
    try requireImport()
    let plan = try TrainingSession.plan(config, isTraced: trace != nil)
    if config.evaluation.translations > 0 { try requireMemoryOfTranslations() }
    if start == .fresh {
      try refuseToLoseImport()
      _ = try TrainingData(config)
      // Before anything is lost; where there is no run yet, its directory comes first.
      if FileManager.default.fileExists(atPath: run.path) { try trace?.requireWritable() }
      try run.erase()
    }
    let isNew = !FileManager.default.fileExists(atPath: run.path)
    try run.create()
    do {
      try trace?.requireWritable()
      if !hasBegun, start != .resume {
        // Nothing but the program is there yet: the measurement has the rest of the memory.
        let program = MemoryPlan.runtimeBytes(threads: plan.geometry.threads)
        measureDrives(memoryBytes: plan.memory.ceiling - program)
      }
      let session = try TrainingSession(
        config, storePaths: Self.storePaths(config, run),
        beginning: start == .resume ? .resume : hasBegun ? .existing : .either, profiles: profiles,
        trace: trace)
      if start == .fresh && session.hasResumed {
        throw TrainingError.storeNotFresh(path: Self.storePaths(config, run)[0])
      }
      return session
    } catch {
      if isNew { run.removeIfEmpty() }
      throw error
    }
  }

  /// The weights of an imported model are in its store alone.
  private func refuseToLoseImport() throws {
    guard FileManager.default.fileExists(atPath: run.model) else { return }
    throw TrainingError.importedNotFresh(path: run.path)
  }

  /// A published model that has weights is imported; from the seed nobody wants it.
  private func requireImport() throws {
    guard let model = try config.publishedModel(), model.hasWeights,
      !Store.isThere(Self.storePaths(config, run))
    else { return }
    throw TrainingError.notImported(path: run.path, model: model.folder)
  }

  /// Learns of drives that are new here. Without effect where that fails: then they are driven as
  /// most drives are.
  private func measureDrives(memoryBytes: Int) {
    guard config.leavesDrivesToMeasurement else { return }
    for path in Self.storePaths(config, run) where profiles.profile(of: path) == nil {
      let directory = DriveProfiles.existing(path)
      guard let profile = measureDrive(directory, memoryBytes) else { continue }
      try? profiles.remember(profile, of: directory)
    }
  }
}

import Paging
import Storage

/// Says when a commit is due, and remembers what commits have cost.
struct CommitClock {
  private let options: RunConfig.CheckpointSection
  private var last = ContinuousClock.now
  /// Seconds that training paused for each, and that each took from freeze to durable.
  private(set) var pauses: [Double] = []
  private(set) var seconds: [Double] = []

  init(_ options: RunConfig.CheckpointSection) { self.options = options }

  func isDue(_ step: Int) -> Bool {
    step % options.every == 0
      || options.seconds > 0 && ContinuousClock.now - last >= .seconds(options.seconds)
  }

  mutating func freeze(
    _ session: inout TrainingSession,
    _ companions: [@Sendable () throws(StorageError) -> Void]
  ) throws {
    let start = ContinuousClock.now
    guard try session.freeze(companions) else { return }
    last = .now
    pauses.append((last - start).seconds)
  }

  /// Hears of a generation that has become durable.
  mutating func take(from session: inout TrainingSession, _ observe: (TrainingEvent) -> Void) {
    if let durable = session.takeDurable() {
      seconds.append(durable.seconds)
      observe(.committed(step: durable.step, seconds: durable.seconds))
    }
  }
}

extension RunConfig.EvaluationSection {
  /// Whether the held-out loss is due after `step`; the last step has it anyway.
  func isDue(_ step: Int) -> Bool { every > 0 && step % every == 0 }
}

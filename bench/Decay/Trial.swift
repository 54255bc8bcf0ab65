import DirectIO
import Storage
import Training

/// One damaged copy of the run: what `verify` says of it, and what training does with it.
struct Trial {
  enum Outcome {
    /// Nothing was damaged but bytes that hold nothing.
    case nothingToFind
    case refusedToOpen
    /// A record that was read, or that a commit needed.
    case foundInTraining
    /// The damaged bytes were not needed: the same bits.
    case notRead
  }

  private let run: RecordedRun
  private let harm: Harm

  init(_ run: RecordedRun, _ harm: Harm) { (self.run, self.harm) = (run, harm) }

  /// - Throws: `Miss` when damage was not found or named, or a bit of the result changed.
  func judge() throws -> Outcome {
    try run.restore()
    try harm.inflict()
    try verify()
    return try train()
  }

  /// As `pagoda store verify` does.
  private func verify() throws {
    let report: ScrubReport
    do {
      report = try RecordedRun.reopen(run.site).scrub()
    } catch {
      return try checkName(error, in: "verify")
    }
    switch harm.content {
    case .freeSlot:
      guard report.isWhole else { throw Miss("verify: found damage where nothing is") }
    case .record:
      guard isTheOne(report.damaged), report.manifestDamage == nil else {
        throw Miss("verify: \(report.damaged) instead of plane \(harm.plane.map { "\($0)" } ?? "")")
      }
    case .manifest, .digest:
      guard report.damaged.isEmpty, report.manifestDamage?.contains(harm.path) == true else {
        throw Miss("verify: \(report.manifestDamage ?? "nothing") was found")
      }
    case .header, .dataFile: throw Miss("verify: nothing was found")
    }
  }

  /// Whether these are the record and the plane that were hit.
  private func isTheOne(_ damaged: [DamagedRecord]) -> Bool {
    damaged.count == 1 && damaged[0].path == harm.path
      && damaged[0].offset == harm.place.lowerBound
      && damaged[0].planes == harm.plane.map { ["\($0)"] }
  }

  private func train() throws -> Outcome {
    let losses: [[UInt64]]
    do {
      losses = try RecordedRun.goOn(run.site)
    } catch let error as StorageError {
      try checkName(error, in: "training")
      if case .damaged = error { return .foundInTraining }
      return .refusedToOpen
    } catch {
      throw Miss("training: \(error)")
    }
    guard losses == run.losses else { throw Miss("training: a loss changed") }
    try checkResult()
    if case .freeSlot = harm.content { return .nothingToFind }
    return .notRead
  }

  /// What the steps left: the bits of the undisturbed run, and no damage but that of the one record.
  private func checkResult() throws {
    let store = try RecordedRun.reopen(run.site)
    guard store.checksums == run.checksums else { throw Miss("training: weights changed") }
    let report = try store.scrub()
    guard report.manifestDamage == nil, report.damaged.isEmpty || isTheOne(report.damaged) else {
      throw Miss("training: it damaged the store: \(report)")
    }
  }

  /// An error says which file is damaged, and of a record which bytes.
  private func checkName(_ error: any Error, in phase: String) throws {
    guard let error = error as? StorageError else { throw Miss("\(phase): \(error)") }
    if case .damaged(let damage) = error {
      guard damage.path == harm.path, let plane = harm.plane, damage.plane == plane,
        case .flip(let byte, _) = harm.kind,
        damage.offset..<damage.offset + damage.length ~= byte
      else { throw Miss("\(phase): another plane is named: \(error)") }
    } else {
      guard "\(error)".contains(harm.path), harm.plane == nil else {
        throw Miss("\(phase): another cause is named: \(error)")
      }
    }
  }
}

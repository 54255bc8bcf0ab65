import Base
import DirectIO
import Glibc
import PinnedMemory
import Simulation
import Storage
import Training

/// One run, from its first process to the one that finishes it.
///
/// What is promised, and checked: every step that any process computes has the bits of the
/// reference; a process finds the last generation that was acknowledged, or one that was under way;
/// it ends as it was told to, or with the error that was due, or it finishes; and what is on the
/// drive in the end are the bits of the reference.
struct SimulatedRun {
  private let swarm: Swarm
  private let config: RunConfig
  private let place: Scratch.Place
  private let paths: [String]
  /// Whether the store has been told of all of its paths, and not only of the first.
  private var isGrown: Bool
  private let reference: Reference
  private let machine: SimulatedMachine
  private let observe: ((String) -> Void)?
  private var tally = Tally()

  /// The last generation known to be durable, and the newest that was begun.
  private var acknowledged = 0
  private var begun = 0
  /// The last step that any process has computed.
  private var computed = 0
  /// Bits that were turned over on the drive and not turned back.
  private var decayed: [Decay] = []
  /// What the process is doing.
  private var phase = Phase.opening

  private enum Phase { case opening, step, commit }

  private struct Decay {
    let path: String
    let byte: Int
    let bit: Int
  }

  init(
    _ swarm: Swarm, _ config: RunConfig, _ place: Scratch.Place, _ reference: Reference,
    observe: ((String) -> Void)?
  ) {
    self.swarm = swarm
    self.config = config
    self.place = place
    self.reference = reference
    self.observe = observe
    paths = ["a", "b", "c"].prefix(swarm.pathCount).map { place.path + "/" + $0 }
    isGrown = swarm.growsAt == 1
    machine = SimulatedMachine(seed: swarm.seed, root: place.path)
    machine.log.observe = observe
  }

  /// More processes than any run needs.
  private static let processesMax = 40

  mutating func simulate(
    spoil: (any Disk) -> any Disk
  ) throws -> (tally: Tally, digest: UInt64) {
    tally.runs = 1
    for number in 1... {
      guard number <= Self.processesMax else {
        throw SimulationFailure("no end after \(Self.processesMax) processes")
      }
      let life = Life(swarm, number: number)
      tally.processes += 1
      isGrown = isGrown || number >= swarm.growsAt
      var failure: (any Error)?
      do {
        try live(life, spoil(machine.start(life.conditions)))
      } catch {
        failure = error
      }
      try judge(failure)
      countFaults()
      if failure == nil { break }
    }
    isGrown = true
    try verify()
    tally.operations = machine.operations
    return (tally, machine.log.digest)
  }

  private var storePaths: [String] { isGrown ? paths : [paths[0]] }

  // MARK: One process

  private mutating func live(_ life: Life, _ disk: any Disk) throws {
    var dice = life.dice
    phase = .opening
    if let end = life.end, case .opening = end.moment {
      machine.end(after: end.after, by: end.by)
    }
    var session = try TrainingSession(
      config, storePaths: storePaths, profiles: place.profiles, disk: disk)
    try checkGeneration(session.progress.step)
    var (steps, commits) = (0, 0)
    while session.nextStep <= swarm.steps {
      if let end = life.end, case .step(steps) = end.moment {
        machine.end(after: end.after, by: end.by)
      }
      if life.rotBefore.contains(steps) { decay(session.store, &dice) }
      steps += 1
      try check(try session.runStep())
      hear(session.store)
      try evaluateIfDue(&session)
      let step = session.progress.step
      guard step % swarm.checkpointEvery == 0 || step == swarm.steps else { continue }
      if let end = life.end {
        switch end.moment {
        case .commit(commits): machine.end(after: end.after, by: end.by)
        case .errand(commits): machine.end(afterErrand: end.after, by: end.by)
        default: break
        }
      }
      commits += 1
      phase = .commit
      begun = step
      tally.commits += 1
      try session.freeze()
      hear(session.store)
    }
    try session.finishCommit()
    hear(session.store)
  }

  /// Hears whether a generation has become durable.
  private mutating func hear(_ store: Store) {
    guard let durable = store.generation?.step, durable > acknowledged else { return }
    observe?("generation \(durable) is durable")
    acknowledged = durable
    if acknowledged == begun { phase = .step }
  }

  /// Nothing that was acknowledged is lost.
  private mutating func checkGeneration(_ step: Int) throws {
    observe?("opened at generation \(step)")
    guard step >= acknowledged, step <= begun else {
      throw SimulationFailure(
        "found generation \(step); \(acknowledged) was durable and \(begun) the newest begun")
    }
    acknowledged = step
    begun = step
    phase = .step
  }

  private mutating func check(_ metrics: StepMetrics) throws {
    tally.steps += 1
    if metrics.step <= computed { tally.steps_again += 1 }
    computed = max(computed, metrics.step)
    observe?("step \(metrics.step): loss \(metrics.loss)")
    guard metrics.computed == reference.losses[metrics.step - 1] else {
      throw SimulationFailure(
        "step \(metrics.step): \(metrics.computed) instead of "
          + "\(reference.losses[metrics.step - 1])")
    }
  }

  private mutating func evaluateIfDue(_ session: inout TrainingSession) throws {
    let step = session.progress.step
    guard swarm.evaluationEvery > 0, step % swarm.evaluationEvery == 0 else { return }
    let loss = try session.evaluate().loss
    tally.evaluations += 1
    guard loss.bitPattern == reference.evaluations[step - 1] else {
      throw SimulationFailure("the evaluation after step \(step) gave \(loss)")
    }
  }

  /// Turns over one bit of the newest record of some block. One in each slot: of two, the first may
  /// have been overwritten, and an error would not tell which is to be turned back.
  private mutating func decay(_ store: Store, _ dice: inout Dice) {
    let blocks = store.writtenBlocks
    guard !blocks.isEmpty else { return }
    let record = store.place(of: dice.pick(blocks))
    let bytes = record.offset..<record.offset + store.geometry.recordBytes
    guard !decayed.contains(where: { $0.path == record.path && bytes ~= $0.byte }) else { return }
    let decay = Decay(
      path: record.path, byte: bytes.lowerBound + dice.below(bytes.count), bit: dice.below(8))
    machine.medium.flipBit(of: decay.path, byte: decay.byte, bit: decay.bit)
    decayed.append(decay)
    observe?("bit \(decay.bit) of byte \(decay.byte) of \(decay.path) decays")
  }
}

// MARK: - Judgement

extension SimulatedRun {
  /// Accepts an error that was due, and nothing else.
  private mutating func judge(_ failure: (any Error)?) throws {
    if let failure { observe?("the process ended: \(failure)") }
    if let failure = failure as? SimulationFailure { throw failure }
    guard let failure else { return }
    guard let error = failure as? StorageError, try isDue(error) else {
      throw SimulationFailure("not due: \(failure)")
    }
  }

  private mutating func isDue(_ error: StorageError) throws -> Bool {
    if machine.hasEnded {
      countEnd()
      return true
    }
    switch error {
    case .disk(let failure), .transfer(_, _, _, let failure),
      .unreadable(_, _, _, let failure, _):
      tally.disk_errors += 1
      return machine.faultsSoFar.contains { $0.isError(failure.code) }
    case .manifest(_, _, let code, _) where code & 0xff == Self.full:
      tally.database_full += 1
      return machine.databaseFaultsSoFar.contains { $0.isFull }
    case .manifest(_, _, let code, _) where code & 0xff == Self.inputOutputError:
      tally.database_errors += 1
      return machine.databaseFaultsSoFar.contains { !$0.isFull }
    case .damaged(let damage):
      tally.damage_found += 1
      return mend(damage) || hasFlippedTwice
    case .foreign: return hasFlippedTwice
    default: return false
    }
  }

  /// One bit that is wrong on its way is right the second time, unless that goes wrong, too: then
  /// the error is all that can be asked for.
  private var hasFlippedTwice: Bool {
    machine.faultsSoFar.count { if case .bitFlip = $0 { true } else { false } } > 1
  }

  /// SQLITE_FULL and SQLITE_IOERR.
  private static var full: Int32 { 13 }
  private static var inputOutputError: Int32 { 10 }

  /// Puts back what decayed where the error says; false when nothing decayed there.
  private mutating func mend(_ damage: Damage) -> Bool {
    let found = decayed.firstIndex {
      $0.path == damage.path
        && damage.offset..<damage.offset + damage.length ~= $0.byte
    }
    guard let found else { return false }
    let decay = decayed.remove(at: found)
    machine.medium.flipBit(of: decay.path, byte: decay.byte, bit: decay.bit)
    return true
  }

  private mutating func countEnd() {
    switch phase {
    case .opening: tally.ends_while_opening += 1
    case .step: tally.ends_in_steps += 1
    case .commit: tally.ends_in_commits += 1
    }
    switch machine.ending {
    case .powerFailure: tally.power_failures += 1
    case .kill: tally.kills += 1
    }
  }

  private mutating func countFaults() {
    for fault in machine.faultsSoFar {
      switch fault {
      case .transient: tally.transient_errors += 1
      case .bitFlip: tally.bit_flips += 1
      default: break
      }
    }
  }

  // MARK: The end

  /// What is on the drive, after one more power failure, are the bits of the reference.
  private mutating func verify() throws {
    machine.end(by: .powerFailure)
    while true {
      do {
        return try compare()
      } catch let error as StorageError {
        guard case .damaged(let damage) = error, mend(damage) else {
          throw SimulationFailure("not due in the end: \(error)")
        }
        tally.damage_found += 1
      }
    }
  }

  private func compare() throws {
    let session = try TrainingSession(
      config, storePaths: storePaths, profiles: place.profiles, disk: machine.start())
    let store = session.store
    guard store.generation?.step == swarm.steps else {
      throw SimulationFailure(
        "generation \(store.generation?.step ?? 0) in the end, not \(swarm.steps)")
    }
    guard store.committedChecksums == reference.checksums[swarm.steps - 1] else {
      throw SimulationFailure("other weights or moments in the end")
    }
    for block in store.writtenBlocks { try read(block, store) }
  }

  /// Reads a record whole and compares it with its checksums.
  private func read(_ block: BlockID, _ store: Store) throws {
    let record = store.place(of: block)
    let memory = try PinnedRegion(
      name: "record", byteCount: store.geometry.recordBytes,
      ledger: MemoryLedger(ceiling: store.geometry.recordBytes))
    store.disk.submit(
      Transfer(.read, record.file, offset: record.offset, memory: memory.memory, tag: 0))
    if let failure = store.disk.nextCompletion(wait: true)?.failure { throw failure }
    for plane in store.geometry.planes.planes {
      let bytes = unsafe PinnedSlice(
        address: memory.memory.address + store.geometry.offset(of: plane),
        byteCount: store.geometry.planeBytes(plane))
      if let damage = store.damage(of: plane, in: block, found: planeChecksum(of: bytes)) {
        throw StorageError.damaged(damage)
      }
    }
  }
}

extension Fault {
  /// Whether it ends in this error, not only in delay.
  fileprivate func isError(_ code: Int32) -> Bool {
    if case .call(_, code, _) = self { true } else { false }
  }
}

extension DatabaseFault {
  fileprivate var isFull: Bool {
    if case .full = self { true } else { false }
  }
}

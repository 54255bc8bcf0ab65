/// A machine whose drive and databases fail together: processes on it, one after the other, each
/// find what the one before has left.
package final class SimulatedMachine {
  /// How a process ends before its work is done.
  package enum Ending: String, CaseIterable, Sendable {
    /// What was not synced is lost, torn or kept.
    case powerFailure
    /// Only the process is gone: everything that it wrote is there.
    case kill
  }

  /// What a process is up against.
  package struct Conditions: Sendable {
    /// A transfer is finished at most so many looks late.
    package var reapsLateMax = 4
    package var faults: [Fault] = []
    package var databaseFaults: [DatabaseFault] = []
    package init() {}
  }

  package let medium: SimulatedMedium
  package let databases: SimulatedDatabases
  package let log: EventLog
  private let seed: UInt64
  private let lifespan = Lifespan()
  private var disk: SimulatedDisk?
  /// How the process ends if it is told to.
  package private(set) var ending = Ending.kill
  private var starts: UInt64 = 0

  /// - Parameter root: the directory that all of its databases are in.
  package init(seed: UInt64, root: String) {
    self.seed = seed
    log = EventLog(root: root)
    medium = SimulatedMedium(seed: seed)
    databases = SimulatedDatabases(seed: seed, lifespan: lifespan, log: log)
  }

  /// Operations of disk and databases so far, of all processes.
  package var operations: Int { lifespan.operations }
  /// Whether the process was told to end and has: nothing that it does has any effect.
  package var hasEnded: Bool { lifespan.hasEnded }
  package var faultsSoFar: [Fault] { disk?.faultsSoFar ?? [] }
  package var databaseFaultsSoFar: [DatabaseFault] { databases.faultsSoFar }

  /// The operation after the next `count` ones of the process is its end.
  package func end(after count: Int, by ending: Ending) {
    self.ending = ending
    lifespan.end(after: count)
  }

  /// The same, counted from the beginning of its next errand.
  package func end(afterErrand count: Int, by ending: Ending) {
    self.ending = ending
    lifespan.end(afterErrand: count)
  }

  /// Ends the process here and now.
  package func end(by ending: Ending) {
    end(after: 0, by: ending)
    _ = lifespan.use()
  }

  /// Begins a process. The one before is gone: nothing of it holds the disk or a database.
  /// - Returns: its disk.
  package func start(_ conditions: Conditions = Conditions()) -> SimulatedDisk {
    let wasPowerFailure = hasEnded && ending == .powerFailure
    if wasPowerFailure {
      log.add(.powerFailure)
      disk?.crash()
      databases.crash()
    } else {
      if hasEnded { log.add(.kill) }
      disk?.kill()
    }
    starts += 1
    log.add(.start, offset: Int(starts))
    databases.restart()
    databases.faults = conditions.databaseFaults
    lifespan.renew()
    let disk = SimulatedDisk(
      medium, seed: seed &* 1_000_003 &+ starts, reapsLateMax: conditions.reapsLateMax,
      faults: conditions.faults, databases: databases, lifespan: lifespan, log: log)
    self.disk = disk
    return disk
  }
}

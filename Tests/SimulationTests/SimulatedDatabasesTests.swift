import CSQLite
import Glibc
import Simulation
import Testing

@Suite struct SimulatedDatabasesTests {
  /// How SQLite keeps its transactions.
  enum Journal: String, CaseIterable {
    case wal = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL"
    case sharedWAL = "PRAGMA journal_mode = WAL"
    case delete = "PRAGMA journal_mode = DELETE"
    case truncate = "PRAGMA journal_mode = TRUNCATE"
    case persist = "PRAGMA journal_mode = PERSIST"

    /// The least that keeps acknowledged transactions: without EXTRA, SQLite does not sync the
    /// directory after it has deleted a journal.
    var synchronous: String { self == .delete ? "EXTRA" : "FULL" }
  }

  /// What a database that died on the way holds afterwards.
  private struct Outcome: Hashable {
    /// Transactions that COMMIT had acknowledged.
    let acknowledged: Int
    /// Transactions that are there.
    let found: Int
    /// Whether each of those is there as a whole, and the database in order.
    let isWhole: Bool
  }

  /// Commits transactions of several pages until the end, which comes after `operations`, and
  /// looks at what a new process finds.
  private func outcome(
    seed: UInt64, _ journal: Journal, end: SimulatedMachine.Ending, after operations: Int,
    synchronous: String? = nil, faults: [DatabaseFault] = []
  ) throws -> Outcome {
    let directory = try TestDirectory()
    let path = directory.path + "/x.sqlite"
    let machine = SimulatedMachine(seed: seed, root: directory.path)
    var conditions = SimulatedMachine.Conditions()
    _ = machine.start(conditions)
    do {
      let database = try Database(path, on: machine.databases)
      try database.run("CREATE TABLE t(n INTEGER, x BLOB)")
      try database.run(journal.rawValue)
    }
    conditions.databaseFaults = faults
    _ = machine.start(conditions)
    machine.end(after: operations, by: end)
    var acknowledged = 0
    do {
      let database = try Database(path, on: machine.databases)
      try database.run(journal.rawValue)
      try database.run("PRAGMA synchronous = \(synchronous ?? journal.synchronous)")
      while acknowledged < 30 {
        let n = acknowledged + 1
        do {
          try database.run(
            "BEGIN; INSERT INTO t VALUES (\(n), zeroblob(5000)), (\(n), zeroblob(9000)); COMMIT")
        } catch {
          try? database.run("ROLLBACK")
          throw error
        }
        acknowledged = n
      }
    } catch is Database.Failure {}

    _ = machine.start()
    let database = try Database(path, on: machine.databases)
    try database.run(journal.rawValue)
    let found = try database.number("SELECT count(DISTINCT n) FROM t")
    let isWhole =
      try database.number("SELECT count(*) FROM t") == 2 * found
      && (try database.number("SELECT coalesce(max(n), 0) FROM t")) == found
      && (try database.number("SELECT count(*) FROM pragma_integrity_check")) == 1
    return Outcome(acknowledged: acknowledged, found: found, isWhole: isWhole)
  }

  /// Whatever was acknowledged is there, and nothing by half: whenever power fails.
  @Test(arguments: Journal.allCases)
  func committedTransactionsSurvivePowerFailures(_ journal: Journal) throws {
    var surprises = 0
    for seed in 1...40 {
      let outcome = try outcome(
        seed: UInt64(seed), journal, end: .powerFailure, after: 4 + seed * 4)
      #expect(outcome.isWhole, "seed \(seed)")
      #expect(outcome.found >= outcome.acknowledged, "seed \(seed)")
      #expect(outcome.found <= outcome.acknowledged + 1, "seed \(seed)")
      if outcome.found > outcome.acknowledged { surprises += 1 }
    }
    // Some that were under way have arrived, others have not.
    #expect(surprises < 40)
  }

  /// A journal whose deletion was not synced comes back, and takes back the transaction.
  @Test func deletionsCanBeUndone() throws {
    let outcomes = try (1...40).map {
      try outcome(
        seed: UInt64($0), .delete, end: .powerFailure, after: 4 + $0 * 4, synchronous: "FULL")
    }
    #expect(outcomes.allSatisfy { $0.isWhole && $0.found >= $0.acknowledged - 1 })
    #expect(outcomes.contains { $0.found < $0.acknowledged })
  }

  @Test func killsLoseNothing() throws {
    for seed in 1...20 {
      let outcome = try outcome(seed: UInt64(seed), .wal, end: .kill, after: 4 + seed * 8)
      #expect(outcome.isWhole && outcome.found >= outcome.acknowledged)
    }
  }

  /// The check can fail: without syncs, acknowledged transactions are lost, and some databases are
  /// broken.
  @Test func missingSyncsAreNoticed() throws {
    var (lost, whole) = (0, 0)
    for seed in 1...40 {
      guard
        let outcome = try? outcome(
          seed: UInt64(seed), .wal, end: .powerFailure, after: 30 + seed, synchronous: "OFF"),
        outcome.isWhole
      else { continue }
      whole += 1
      if outcome.found < outcome.acknowledged { lost += 1 }
    }
    #expect(lost > 5)
    let rollback = (1...40).filter { seed in
      let outcome = try? outcome(
        seed: UInt64(seed), .delete, end: .powerFailure, after: 30 + seed, synchronous: "OFF")
      return outcome?.isWhole != true
    }
    #expect(rollback.count > 5)
  }

  /// A write or sync that fails fails its transaction; what is acknowledged stays.
  @Test(arguments: Journal.allCases) func failuresEndTransactions(_ journal: Journal) throws {
    for number in 1...12 {
      for fault in [DatabaseFault.full(write: number), .write(number), .sync(number)] {
        let outcome = try outcome(
          seed: 9, journal, end: .kill, after: .max / 2, faults: [fault])
        #expect(outcome.isWhole && outcome.found >= outcome.acknowledged, "\(fault)")
        #expect(outcome.found <= outcome.acknowledged + 1, "\(fault)")
        #expect(outcome.acknowledged < 30, "\(fault)")
      }
    }
  }

  @Test func fullDrivesSaySo() throws {
    let directory = try TestDirectory()
    let databases = SimulatedDatabases(seed: 1)
    let database = try Database(directory.path + "/x.sqlite", on: databases)
    try database.run("CREATE TABLE t(n)")
    databases.faults = [.full(write: 1)]
    let failure = #expect(throws: Database.Failure.self) {
      try database.run("INSERT INTO t VALUES (1)")
    }
    #expect(failure?.code == SQLITE_FULL)
    #expect(databases.faultsSoFar == [.full(write: 1)])
    try database.run("INSERT INTO t VALUES (2)")
  }

  /// After power has failed nothing of the old process reaches a file, its closing included.
  @Test func theDeadDoNotWrite() throws {
    let directory = try TestDirectory()
    let path = directory.path + "/x.sqlite"
    let lifespan = Lifespan()
    let databases = SimulatedDatabases(seed: 1, lifespan: lifespan)
    do {
      let database = try Database(path, on: databases)
      try database.run(Journal.wal.rawValue)
      try database.run("CREATE TABLE t(n); INSERT INTO t VALUES (1)")
      lifespan.end(after: 0)
      #expect(throws: Database.Failure.self) { try database.run("INSERT INTO t VALUES (2)") }
      #expect(throws: Database.Failure.self) { try Database(path, on: databases) }
    }
    // The log was not checkpointed when the connection was closed.
    #expect(unsafe access(path + "-wal", F_OK) == 0)
    lifespan.renew()
    databases.restart()
    #expect(try Database(path, on: databases).number("SELECT n FROM t") == 1)
  }

  /// One seed is one story; another seed is another.
  @Test func seedsDecide() throws {
    let outcomes = try (1...30).map { seed in
      try outcome(
        seed: UInt64(seed), .wal, end: .powerFailure, after: 60, synchronous: "NORMAL")
    }
    #expect(Set(outcomes).count > 1)
    let again = try (1...30).map { seed in
      try outcome(
        seed: UInt64(seed), .wal, end: .powerFailure, after: 60, synchronous: "NORMAL")
    }
    #expect(again == outcomes)
  }
}

import Base
import Glibc

/// The SQLite file that says which record is where. One transaction is one generation.
///
///     meta        one row: identity, creation, geometry, blocks
///     path        number, directory and slots of each path, and what was written to it
///     generation  step, time and payload of each generation that can be gone back to
///     record      slot, checksums and history of every block, as of the last generation
///     superseded  what the commit of a generation replaced, while an older one is kept
///     seal        one row: the sum of the digests of all rows
///
/// After every transaction the write-ahead log is emptied into the file: the file alone is the
/// manifest, and can be read by others between transactions. A log with something in it is what a
/// crash, or a drive that took no more, left between the two; SQLite checks each of its frames.
///
/// Used by one thread at a time: the one that opened it, or the errand of a commit.
final class Manifest: @unchecked Sendable {
  static let name = "manifest.sqlite"
  /// Raised whenever an older program would misread a store.
  static let format = 3
  /// "PAGD", in the header of the file: tells it from other databases.
  static let applicationID = 0x5041_4744

  /// Bytes of a row of `record` or `superseded` with its share of the pages, at most.
  private static let rowBytesMax = 160

  /// Bytes of a manifest whose rows name so many slots, and of a log with all of them anew.
  static func bytesMax(slots: Int) -> Int { 2 * rowBytesMax * slots }

  let path: String
  let connection: Connection
  let isWritable: Bool
  var seal = RowDigest.none
  /// The last transaction is in the log and could not be moved into the file.
  private var hasLeftLog = false

  private static let recordColumns = """
    path INTEGER NOT NULL, slot INTEGER NOT NULL,
    checksum_hi INTEGER NOT NULL, checksum_lo INTEGER NOT NULL,
    checksum_m INTEGER NOT NULL, checksum_v INTEGER NOT NULL,
    last_step INTEGER NOT NULL, updates INTEGER NOT NULL, tokens INTEGER NOT NULL,
    digest INTEGER NOT NULL
    """
  static let schema = """
    CREATE TABLE meta(
      created_ns INTEGER NOT NULL, blocks INTEGER NOT NULL, parameters INTEGER NOT NULL,
      bytes_hi INTEGER NOT NULL, bytes_lo INTEGER NOT NULL, bytes_m INTEGER NOT NULL,
      bytes_v INTEGER NOT NULL, digest INTEGER NOT NULL, identity TEXT NOT NULL);
    CREATE TABLE path(
      id INTEGER PRIMARY KEY, slots INTEGER NOT NULL, drained INTEGER NOT NULL,
      bytes_written INTEGER NOT NULL, digest INTEGER NOT NULL, directory TEXT NOT NULL);
    CREATE TABLE generation(
      step INTEGER PRIMARY KEY, committed_at INTEGER NOT NULL, digest INTEGER NOT NULL,
      payload BLOB NOT NULL);
    CREATE TABLE record(block INTEGER PRIMARY KEY, \(recordColumns));
    CREATE TABLE superseded(
      generation INTEGER NOT NULL, block INTEGER NOT NULL, \(recordColumns),
      PRIMARY KEY(generation, block)) WITHOUT ROWID;
    CREATE TABLE seal(digest INTEGER NOT NULL);
    """

  /// Makes an empty manifest at `path`, whole or not at all as far as a rename by the caller
  /// decides.
  static func create(
    _ path: String, _ store: StoreDescription, on fileSystem: String?
  ) throws(StorageError) {
    let descriptor = unsafe open(
      path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode_t(0o600))
    guard descriptor >= 0 else { throw .system(action: "create", path: path, code: errno) }
    close(descriptor)

    let connection = try Connection(path, .readWrite, on: fileSystem)
    try connection.execute("PRAGMA synchronous = FULL")
    try connection.execute("PRAGMA application_id = \(applicationID)")
    try connection.execute("PRAGMA user_version = \(format)")
    try connection.transaction { () throws(StorageError) in
      try connection.execute(schema)
      try insert(store, connection)
    }
    try connection.execute("PRAGMA journal_mode = WAL")
  }

  private static func insert(
    _ store: StoreDescription, _ connection: borrowing Connection
  ) throws(StorageError) {
    var seal = ManifestRow.meta(store)
    let meta = try connection.prepare("INSERT INTO meta VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
    meta.bind(ManifestRow.numbers(of: store) + [seal.stored])
    meta.bind(9, store.identity)
    try meta.run()
    for id in store.paths.indices {
      seal += try insert(store.paths[id], id: id, connection)
    }
    try connection.execute("INSERT INTO seal VALUES (\(seal.stored))")
  }

  private static func insert(
    _ path: StorePath, id: Int, _ connection: borrowing Connection
  ) throws(StorageError) -> RowDigest {
    let digest = ManifestRow.path(path, id: id)
    let row = try connection.prepare("INSERT OR REPLACE INTO path VALUES (?, ?, ?, ?, ?, ?)")
    row.bind(ManifestRow.numbers(of: path, id: id) + [digest.stored])
    row.bind(6, path.directory)
    try row.run()
    return digest
  }

  /// Opens a manifest that `describe` has accepted.
  /// - Parameter mode: `.readWrite` belongs to the holder of the store's lock.
  init(_ path: String, _ mode: Connection.Mode, on fileSystem: String?) throws(StorageError) {
    let connection = try Connection(path, mode, on: fileSystem)
    if mode == .readWrite {
      // The store's own lock keeps others out, so SQLite needs no shared memory file.
      try connection.execute("PRAGMA locking_mode = EXCLUSIVE")
      try connection.execute("PRAGMA journal_mode = WAL")
      try connection.execute("PRAGMA synchronous = FULL")
      try connection.execute("PRAGMA wal_autocheckpoint = 0")
      try Self.emptyLog(connection)
    }
    self.path = path
    self.connection = connection
    isWritable = mode == .readWrite
  }

  /// Moves what the log holds into the file, durably.
  private static func emptyLog(_ connection: borrowing Connection) throws(StorageError) {
    // The first column of the answer says whether somebody kept it from being done.
    guard try connection.integer("PRAGMA wal_checkpoint(TRUNCATE)") == 0 else {
      throw .locked(path: connection.path, pid: nil)
    }
  }
}

// MARK: Writing

/// What a transaction makes durable: the closing generation.
struct Commit: Sendable {
  let generation: Generation
  /// Versions of the closing generation.
  let records: [BlockID: Record]
  /// As they were before.
  let committed: [BlockID: Record]
  let kept: [KeptGeneration]
  let paths: [StorePath]
}

extension Manifest {
  /// Runs `body` and writes the seal that it leaves: all or nothing. Then empties the log; where that
  /// fails the transaction is durable all the same, and the next one begins with it.
  private func sealed(
    _ body: (inout RowDigest) throws(StorageError) -> Void
  ) throws(StorageError) {
    if hasLeftLog { try Self.emptyLog(connection) }
    hasLeftLog = false
    var seal = seal
    try connection.transaction { () throws(StorageError) in
      try body(&seal)
      // The same rows may come to lie elsewhere in the file: no digest of them as they were stays.
      if seal == self.seal { try ManifestDigest.remove(path) }
      try connection.execute("UPDATE seal SET digest = \(seal.stored)")
    }
    self.seal = seal
    do throws(StorageError) {
      try Self.emptyLog(connection)
      ManifestDigest.write(path, seal: seal)
    } catch {
      hasLeftLog = true
    }
  }

  /// Refuses a file that is damaged between its rows: SQLite trusts what it finds there, and writing
  /// could cost whole rows. A digest that is missing or of another state, after a crash, is made.
  func checkBeforeWriting() throws(StorageError) {
    switch ManifestDigest.compare(path, seal: seal) {
    case .whole: return
    case .unknown, .digestDamaged:
      // The file lacks what a log still holds: it changes, and its seal does not.
      if !hasLeftLog { ManifestDigest.write(path, seal: seal) }
    case .fileDamaged:
      throw .inconsistent(
        path: path,
        reason: "bytes outside its rows are not what was written; the rows are, and `pagoda store "
          + "snapshot` makes a whole store of them")
    }
  }

  /// What is wrong with the file outside its rows; nil when nothing is known to be. A file whose log
  /// could not be emptied is between two states.
  func fileDamage() -> String? {
    if Self.hasLog(path) { return nil }
    switch ManifestDigest.compare(path, seal: seal) {
    case .whole, .unknown: return nil
    case .digestDamaged(let digest): return "\(digest) is damaged"
    case .fileDamaged: return "\(path): bytes outside its rows are not what was written"
    }
  }

  /// Makes the generation of `commit` the last one, and forgets the oldest `dropped` ones.
  /// - Returns: what it replaced, in the order of the blocks.
  @discardableResult
  func write(_ commit: Commit, dropped: Int) throws(StorageError) -> [Superseded] {
    let step = commit.generation.step
    var replaced: [Superseded] = []
    replaced.reserveCapacity(commit.records.count)
    try sealed { seal throws(StorageError) in
      let rows = try RowStatements(connection)
      let isOlderKept = commit.kept.count > dropped
      for (block, new) in commit.records.sorted(by: { $0.key < $1.key }) {
        let old = Superseded(block: block, record: commit.committed[block])
        if let record = old.record { seal -= ManifestRow.record(block, record) }
        if isOlderKept { seal += try rows.put(old, by: step) }
        seal += try rows.put(new, of: block)
        replaced.append(old)
      }
      try drop(dropped, of: commit.kept, &seal)
      seal += try insert(commit.generation)
      for (id, path) in commit.paths.enumerated() { try update(path, id: id, &seal) }
    }
    return replaced
  }

  /// Forgets the oldest `count` generations.
  func drop(_ count: Int, of kept: [KeptGeneration]) throws(StorageError) {
    try sealed { seal throws(StorageError) in try drop(count, of: kept, &seal) }
  }

  private func drop(
    _ count: Int, of kept: [KeptGeneration], _ seal: inout RowDigest
  ) throws(StorageError) {
    guard count > 0 else { return }
    for index in 0..<count {
      seal -= ManifestRow.generation(kept[index].generation)
      try delete(kept[index], &seal)
    }
    // What the oldest one left replaced is needed by none.
    if count < kept.count { try forgetSuperseded(by: kept[count], &seal) }
  }

  private func delete(_ kept: KeptGeneration, _ seal: inout RowDigest) throws(StorageError) {
    try connection.execute("DELETE FROM generation WHERE step = \(kept.generation.step)")
    try forgetSuperseded(by: kept, &seal)
  }

  private func forgetSuperseded(
    by kept: KeptGeneration, _ seal: inout RowDigest
  ) throws(StorageError) {
    let step = kept.generation.step
    for old in kept.superseded { seal -= ManifestRow.superseded(old, by: step) }
    try connection.execute("DELETE FROM superseded WHERE generation = \(step)")
  }

  private func insert(_ generation: Generation) throws(StorageError) -> RowDigest {
    let digest = ManifestRow.generation(generation)
    let row = try connection.prepare("INSERT INTO generation VALUES (?, ?, ?, ?)")
    row.bind(ManifestRow.numbers(of: generation) + [digest.stored])
    try row.bind(4, blob: generation.payload)
    try row.run()
    return digest
  }

  /// Writes one path anew, or for the first time.
  private func update(
    _ path: StorePath, id: Int, _ seal: inout RowDigest
  ) throws(StorageError) {
    let old = try connection.prepare("SELECT digest FROM path WHERE id = ?")
    old.bind(1, id)
    if try old.step() { seal -= RowDigest(stored: old.integer(0)) }
    seal += try Self.insert(path, id: id, connection)
  }

  /// Writes these paths anew, or for the first time.
  func write(_ paths: [StorePath]) throws(StorageError) {
    try sealed { seal throws(StorageError) in
      for (id, path) in paths.enumerated() { try update(path, id: id, &seal) }
    }
  }

  /// Says that versions are in other slots now, and what the paths are.
  func write(
    _ moves: [(version: RecordVersion, slot: Slot)], _ kept: [KeptGeneration], _ paths: [StorePath]
  ) throws(StorageError) {
    try sealed { seal throws(StorageError) in
      let rows = try RowStatements(connection)
      for (version, slot) in moves {
        let (block, old) = (version.block, version.record)
        let new = Record(slot: slot, checksums: old.checksums, history: old.history)
        if let index = version.supersededBy {
          let step = kept[index].generation.step
          seal -= ManifestRow.superseded(Superseded(block: block, record: old), by: step)
          seal += try rows.put(Superseded(block: block, record: new), by: step)
        } else {
          seal -= ManifestRow.record(block, old)
          seal += try rows.put(new, of: block)
        }
      }
      for (id, path) in paths.enumerated() { try update(path, id: id, &seal) }
    }
  }

  /// Forgets records of the only generation, which goes on as `generation`, of the same step, in a store
  /// of fewer blocks.
  func forget(
    _ records: [(block: BlockID, record: Record)], from old: StoreDescription,
    to new: StoreDescription, _ generation: (old: Generation, new: Generation)
  ) throws(StorageError) {
    try sealed { seal throws(StorageError) in
      let rows = try RowStatements(connection)
      for (block, record) in records {
        seal -= ManifestRow.record(block, record)
        try rows.remove(block)
      }
      seal -= ManifestRow.meta(old)
      let meta = ManifestRow.meta(new)
      seal += meta
      try connection.execute("UPDATE meta SET blocks = \(new.blocks), digest = \(meta.stored)")
      seal -= ManifestRow.generation(generation.old)
      try connection.execute("DELETE FROM generation WHERE step = \(generation.old.step)")
      seal += try insert(generation.new)
    }
  }

  /// Makes the file as small as its rows.
  func vacuum() throws(StorageError) {
    try ManifestDigest.remove(path)
    try connection.execute("VACUUM")
    try Self.emptyLog(connection)
    ManifestDigest.write(path, seal: seal)
  }

  /// Goes back from the last generation to the one before it.
  /// - Parameter committed: the records of the last generation.
  func rollBack(
    _ last: KeptGeneration, committed: [BlockID: Record]
  ) throws(StorageError) {
    try sealed { seal throws(StorageError) in
      let rows = try RowStatements(connection)
      for old in last.superseded {
        if let newer = committed[old.block] { seal -= ManifestRow.record(old.block, newer) }
        if let record = old.record {
          seal += try rows.put(record, of: old.block)
        } else {
          try rows.remove(old.block)
        }
      }
      seal -= ManifestRow.generation(last.generation)
      try self.delete(last, &seal)
    }
  }
}

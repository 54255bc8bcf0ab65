import Base
import Glibc

/// What a store says of itself, without opening it.
package struct StoreDescription: Sendable, Equatable {
  package let identity: String
  package let geometry: RecordGeometry
  /// Blocks that can ever be written.
  package let blocks: Int
  /// Directories as they were named when the store was made.
  package let paths: [String]
  package let slotsPerPath: [Int]
  /// Nanoseconds since 1970; tells stores of one identity apart.
  package let createdNanoseconds: Int
}

/// The SQLite file that says which record is where. One transaction is one generation.
///
///     meta        one row: identity, creation, geometry, blocks
///     path        number, directory and slots of each path
///     record      slot, checksums and history of every block that was ever committed
///     generation  one row: step, time and payload of the last commit
struct Manifest: ~Copyable {
  static let name = "manifest.sqlite"
  /// Raised whenever an older program would misread a store.
  static let format = 1
  /// "PAGD", in the header of the file: tells it from other databases.
  private static let applicationID = 0x5041_4744

  private let connection: Connection

  private static let schema = """
    CREATE TABLE meta(
      identity TEXT NOT NULL, created_ns INTEGER NOT NULL, blocks INTEGER NOT NULL,
      parameters INTEGER NOT NULL, bytes_hi INTEGER NOT NULL, bytes_lo INTEGER NOT NULL,
      bytes_m INTEGER NOT NULL, bytes_v INTEGER NOT NULL);
    CREATE TABLE path(id INTEGER PRIMARY KEY, dir TEXT NOT NULL, slots INTEGER NOT NULL);
    CREATE TABLE record(
      block INTEGER PRIMARY KEY, path INTEGER NOT NULL, slot INTEGER NOT NULL,
      checksum_hi INTEGER NOT NULL, checksum_lo INTEGER NOT NULL,
      checksum_m INTEGER NOT NULL, checksum_v INTEGER NOT NULL,
      last_step INTEGER NOT NULL, updates INTEGER NOT NULL, tokens INTEGER NOT NULL);
    CREATE TABLE generation(
      step INTEGER PRIMARY KEY, committed_at INTEGER NOT NULL, payload BLOB NOT NULL);
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

  /// Reads what the store at `path` is, without leaving a trace on the disk.
  /// - Throws: `.foreign` for what is no manifest, `.otherFormat` for one of another version.
  static func describe(
    _ path: String, on fileSystem: String? = nil
  ) throws(StorageError) -> StoreDescription {
    do throws(StorageError) {
      let connection = try Connection(path, .immutable, on: fileSystem)
      guard try connection.integer("PRAGMA application_id") == applicationID else {
        throw StorageError.foreign(path: path, reason: "a database of another program")
      }
      let found = try connection.integer("PRAGMA user_version")
      guard found == format else {
        throw StorageError.otherFormat(path: path, found: found, supported: format)
      }
      return try description(connection)
    } catch {
      guard case .manifest(_, _, let code, _) = error, Connection.isDamage(code) else {
        throw error
      }
      throw .foreign(path: path, reason: "no manifest of a store, or a damaged one")
    }
  }

  /// Whether the manifest was never opened for writing since it was made, found without leaving a
  /// trace: no generation in the file, and no log in which one could wait.
  static func isUnused(_ path: String, on fileSystem: String?) throws(StorageError) -> Bool {
    var log = stat()
    if unsafe stat(path + "-wal", &log) == 0, log.st_size > 0 { return false }
    let connection = try Connection(path, .immutable, on: fileSystem)
    return try connection.integer("SELECT count(*) FROM generation") == 0
  }

  /// Opens a manifest that `describe` has accepted.
  init(_ path: String, readOnly: Bool, on fileSystem: String?) throws(StorageError) {
    let connection = try Connection(path, readOnly ? .readOnly : .readWrite, on: fileSystem)
    if !readOnly {
      // The store's own lock keeps others out, so SQLite needs no shared memory file.
      try connection.execute("PRAGMA locking_mode = EXCLUSIVE")
      try connection.execute("PRAGMA journal_mode = WAL")
      try connection.execute("PRAGMA synchronous = FULL")
    }
    self.connection = connection
  }

  /// The last generation; nil before the first commit.
  func generation() throws(StorageError) -> Generation? {
    let row = try connection.prepare("SELECT step, committed_at, payload FROM generation")
    guard try row.step() else { return nil }
    return Generation(
      step: Int(row.integer(0)), committedAt: Int(row.integer(1)), payload: row.blob(2))
  }

  /// All committed records.
  func records() throws(StorageError) -> [BlockID: RecordEntry] {
    let row = try connection.prepare(
      """
      SELECT block, path, slot, checksum_hi, checksum_lo, checksum_m, checksum_v,
        last_step, updates, tokens FROM record
      """)
    var entries: [BlockID: RecordEntry] = [:]
    while try row.step() {
      guard let block = BlockID(rawValue: row.integer(0)) else {
        throw .inconsistent(path: connection.path, reason: "no block has number \(row.integer(0))")
      }
      let sums = PlaneValues(
        hi: row.integer(3), lo: row.integer(4), m: row.integer(5), v: row.integer(6))
      entries[block] = RecordEntry(
        committed: Slot(path: Int(row.integer(1)), index: Int(row.integer(2))), open: nil,
        checksums: sums.map { UInt64(bitPattern: $0) },
        history: BlockHistory(
          lastStep: Int(row.integer(7)), updates: Int(row.integer(8)), tokens: Int(row.integer(9))))
    }
    return entries
  }

  /// Makes `generation` the last one, with the changed records: all or nothing.
  func commit(
    _ generation: Generation, changed: [(BlockID, RecordEntry)]
  ) throws(StorageError) {
    try connection.transaction { () throws(StorageError) in
      let record = try connection.prepare(
        "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      for (block, entry) in changed {
        record.bind(1, block.rawValue)
        record.bind(2, entry.slot.path)
        record.bind(3, entry.slot.index)
        for (index, plane) in Plane.allCases.enumerated() {
          record.bind(Int32(4 + index), Int64(bitPattern: entry.checksums[plane]))
        }
        record.bind(8, entry.history.lastStep)
        record.bind(9, entry.history.updates)
        record.bind(10, entry.history.tokens)
        try record.run()
      }
      // Only the last row stays: the records of earlier generations are about to be overwritten.
      try connection.execute("DELETE FROM generation")
      let row = try connection.prepare("INSERT INTO generation VALUES (?, ?, ?)")
      row.bind(1, generation.step)
      row.bind(2, generation.committedAt)
      try row.bind(3, blob: generation.payload)
      try row.run()
    }
  }
}

extension Manifest {
  private static func insert(
    _ store: StoreDescription, _ connection: borrowing Connection
  ) throws(StorageError) {
    let meta = try connection.prepare("INSERT INTO meta VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
    meta.bind(1, store.identity)
    meta.bind(2, store.createdNanoseconds)
    meta.bind(3, store.blocks)
    meta.bind(4, store.geometry.parameters)
    for (index, plane) in Plane.allCases.enumerated() {
      meta.bind(Int32(5 + index), store.geometry.contentBytes[plane])
    }
    try meta.run()
    let path = try connection.prepare("INSERT INTO path VALUES (?, ?, ?)")
    for index in store.paths.indices {
      path.bind(1, index)
      path.bind(2, store.paths[index])
      path.bind(3, store.slotsPerPath[index])
      try path.run()
    }
  }

  private static func description(
    _ connection: borrowing Connection
  ) throws(StorageError) -> StoreDescription {
    let meta = try connection.prepare(
      """
      SELECT identity, created_ns, blocks, parameters, bytes_hi, bytes_lo, bytes_m, bytes_v
      FROM meta
      """)
    guard try meta.step() else {
      throw .inconsistent(path: connection.path, reason: "the manifest has no description")
    }
    let content = PlaneValues(
      hi: Int(meta.integer(4)), lo: Int(meta.integer(5)), m: Int(meta.integer(6)),
      v: Int(meta.integer(7)))
    var paths: [String] = []
    var slots: [Int] = []
    let path = try connection.prepare("SELECT dir, slots FROM path ORDER BY id")
    while try path.step() {
      paths.append(path.text(0))
      slots.append(Int(path.integer(1)))
    }
    guard meta.integer(3) > 0, Plane.allCases.allSatisfy({ content[$0] > 0 }), !paths.isEmpty else {
      throw .inconsistent(path: connection.path, reason: "the manifest's description is not whole")
    }
    return StoreDescription(
      identity: meta.text(0),
      geometry: RecordGeometry(parameters: Int(meta.integer(3)), contentBytes: content),
      blocks: Int(meta.integer(2)), paths: paths, slotsPerPath: slots,
      createdNanoseconds: Int(meta.integer(1)))
  }
}

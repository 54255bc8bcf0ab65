import Base
import Glibc

/// Everything that is read is checked: against the digest of its row, against the seal of all rows,
/// and for being possible at all.
extension Manifest {
  /// Reads what the store at `path` is, without changing it.
  /// - Throws: `.foreign` for what is no manifest, `.otherFormat` for one of another version.
  static func describe(
    _ path: String, on fileSystem: String? = nil
  ) throws(StorageError) -> StoreDescription {
    do throws(StorageError) {
      let connection = try Connection(path, readingMode(path), on: fileSystem)
      guard try connection.integer("PRAGMA application_id") == applicationID else {
        throw StorageError.foreign(path: path, reason: "a database of another program")
      }
      let found = try connection.integer("PRAGMA user_version")
      guard found == format else {
        throw StorageError.otherFormat(path: path, found: found, supported: format)
      }
      return try description(connection).store
    } catch {
      guard case .manifest(_, _, let code, _) = error, Connection.isDamage(code) else {
        throw error
      }
      throw .foreign(path: path, reason: "no manifest of a store, or a damaged one")
    }
  }

  /// Whether there is something in the log: a crash came between a transaction and its end.
  static func hasLog(_ path: String) -> Bool {
    var log = stat()
    return unsafe stat(path + "-wal", &log) == 0 && log.st_size > 0
  }

  /// Before the file alone is copied or renamed: what is in the log would be lost.
  static func requireEmptyLog(_ path: String) throws(StorageError) {
    guard hasLog(path) else { return }
    throw .manifest(
      path: path, action: "move the log into the file", code: 10, message: "it is still there")
  }

  /// How to read a manifest that nobody is writing. A log is what a crash left, perhaps while it was
  /// being moved into the file: then that is no database without it. Else the file alone is the
  /// manifest, whoever has it open.
  static func readingMode(_ path: String) -> Connection.Mode {
    hasLog(path) ? .readOnly : .immutable
  }

  /// Whether the manifest was never opened for writing since it was made, found without leaving a
  /// trace: no generation in the file, and no log in which one could wait.
  static func isUnused(_ path: String, on fileSystem: String?) throws(StorageError) -> Bool {
    if hasLog(path) { return false }
    let connection = try Connection(path, .immutable, on: fileSystem)
    return try connection.integer("SELECT count(*) FROM generation") == 0
  }

  /// All that the manifest says.
  struct Content {
    let store: StoreDescription
    let table: RecordTable
  }

  /// Reads and checks all rows, and the file itself when it is open for writing; from now on it can
  /// be written.
  func load() throws(StorageError) -> Content {
    var (store, seal) = try Self.description(connection)
    let committed = try records(&seal)
    var kept = try generations(&seal)
    try readSuperseded(into: &kept, &seal)
    guard RowDigest(stored: Int64(try connection.integer("SELECT digest FROM seal"))) == seal else {
      throw damaged("rows are missing or too many")
    }
    guard !kept.isEmpty || committed.isEmpty else {
      throw damaged("there are records of no generation")
    }
    guard
      let table = RecordTable(committed: committed, kept: kept, slots: store.slotsPerPath)
    else {
      throw damaged("two records share a slot, or one has a slot that is not there")
    }
    self.seal = seal
    if isWritable { try checkBeforeWriting() }
    return Content(store: store, table: table)
  }

  private func damaged(_ what: String) -> StorageError {
    .inconsistent(path: path, reason: "the manifest is damaged: \(what)")
  }

  private func records(_ seal: inout RowDigest) throws(StorageError) -> [BlockID: Record] {
    let row = try connection.prepare("SELECT * FROM record")
    var records: [BlockID: Record] = [:]
    while try row.step() {
      let (number, record) = ManifestRow.record(row, from: 0)
      guard let block = BlockID(rawValue: number) else { throw damaged("block \(number)") }
      let digest = ManifestRow.record(block, record)
      guard digest.stored == row.integer(10), Self.isPossible(record.history) else {
        throw damaged("the row of \(block)")
      }
      seal += digest
      records[block] = record
    }
    return records
  }

  private func generations(_ seal: inout RowDigest) throws(StorageError) -> [KeptGeneration] {
    let row = try connection.prepare(
      "SELECT step, committed_at, digest, payload FROM generation ORDER BY step")
    var kept: [KeptGeneration] = []
    while try row.step() {
      let generation = Generation(
        step: Int(row.integer(0)), committedAt: Int(row.integer(1)), payload: row.blob(3))
      let digest = ManifestRow.generation(generation)
      guard digest.stored == row.integer(2), Self.isCount(row.integer(0)) else {
        throw damaged("the row of generation \(generation.step)")
      }
      seal += digest
      kept.append(KeptGeneration(generation: generation, superseded: []))
    }
    return kept
  }

  private func readSuperseded(
    into kept: inout [KeptGeneration], _ seal: inout RowDigest
  ) throws(StorageError) {
    let row = try connection.prepare("SELECT * FROM superseded ORDER BY generation, block")
    while try row.step() {
      let step = Int(row.integer(0))
      let (number, record) = ManifestRow.record(row, from: 1)
      guard let block = BlockID(rawValue: number) else { throw damaged("block \(number)") }
      let old = Superseded(block: block, record: record.slot.path < 0 ? nil : record)
      let digest = ManifestRow.superseded(old, by: step)
      guard digest.stored == row.integer(11), Self.isPossible(record.history),
        let index = kept.firstIndex(where: { $0.generation.step == step }), index > 0
      else { throw damaged("the row of what generation \(step) replaced of \(block)") }
      seal += digest
      kept[index].superseded.append(old)
    }
  }

  private static func description(
    _ connection: borrowing Connection
  ) throws(StorageError) -> (store: StoreDescription, seal: RowDigest) {
    let damaged = StorageError.inconsistent(
      path: connection.path, reason: "the manifest is damaged: its description is not whole")
    guard try hasSchema(connection) else { throw damaged }
    let meta = try connection.prepare(
      """
      SELECT created_ns, blocks, parameters, bytes_hi, bytes_lo, bytes_m, bytes_v, digest, identity
      FROM meta
      """)
    guard try meta.step() else { throw damaged }
    let content = PlaneValues(
      hi: Int(meta.integer(3)), lo: Int(meta.integer(4)), m: Int(meta.integer(5)),
      v: Int(meta.integer(6)))
    let (paths, pathSeal) = try paths(connection)
    guard
      let geometry = RecordGeometry(
        stored: Int(meta.integer(2)), contentBytes: content),
      let blocks = Int(exactly: meta.integer(1)), 1...RecordGeometry.largest ~= blocks,
      isCount(meta.integer(0)), paths.contains(where: { !$0.isDrained }),
      paths.allSatisfy({ fits($0, geometry) })
    else { throw damaged }
    let store = StoreDescription(
      identity: meta.text(8), geometry: geometry, blocks: blocks, paths: paths,
      createdNanoseconds: Int(meta.integer(0)))
    var seal = ManifestRow.meta(store)
    guard seal.stored == meta.integer(7) else { throw damaged }
    seal += pathSeal
    return (store, seal)
  }

  /// Whether a number is none below zero, nor one that no counter reaches and sums pass `Int` with.
  private static func isCount(_ number: Int64) -> Bool { 0...1 << 61 ~= number }

  private static func isPossible(_ history: BlockHistory) -> Bool {
    [history.lastStep, history.updates, history.tokens].allSatisfy { isCount(Int64($0)) }
  }

  /// Whether the tables are ours and nothing else is there: a view of the name of a table could be
  /// made to compute without end.
  private static func hasSchema(_ connection: borrowing Connection) throws(StorageError) -> Bool {
    var wanted = Set(schema.split(separator: ";").map { trimmed($0) }.filter { !$0.isEmpty })
    let row = try connection.prepare("SELECT sql FROM sqlite_schema")
    while try row.step() {
      guard wanted.remove(row.text(0)) != nil else { return false }
    }
    return wanted.isEmpty
  }

  /// Whether the size of the path's data file is a number.
  private static func fits(_ path: StorePath, _ geometry: RecordGeometry) -> Bool {
    !path.slots.multipliedReportingOverflow(by: 2 * geometry.recordBytes).overflow
  }

  private static func paths(
    _ connection: borrowing Connection
  ) throws(StorageError) -> ([StorePath], RowDigest) {
    var paths: [StorePath] = []
    var seal = RowDigest.none
    let row = try connection.prepare(
      "SELECT id, slots, drained, bytes_written, digest, directory FROM path ORDER BY id")
    while try row.step() {
      let path = StorePath(
        directory: row.text(5), slots: Int(row.integer(1)), isDrained: row.integer(2) != 0,
        bytesWritten: Int(row.integer(3)))
      let digest = ManifestRow.path(path, id: paths.count)
      guard digest.stored == row.integer(4), row.integer(0) == Int64(paths.count),
        0...RecordGeometry.largest ~= path.slots, isCount(Int64(path.bytesWritten))
      else {
        throw .inconsistent(
          path: connection.path, reason: "the manifest is damaged: path \(paths.count)")
      }
      seal += digest
      paths.append(path)
    }
    return (paths, seal)
  }
}

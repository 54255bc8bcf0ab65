internal import CSQLite
import Storage

/// A manifest in memory whose rows can be anything and still have the digests that belong to them:
/// what damage never does, and whoever wants to harm can.
@safe final class ManifestForge {
  /// Nanoseconds since 1970 that the small store was made.
  static let created = 1_700_000_000_000_000_000

  private struct Table {
    let name: String
    let key: String
    let numbers: [String]
    /// A column of text or bytes behind the digest.
    let bytes: String?

    var columns: [String] { numbers + ["digest"] + (bytes.map { [$0] } ?? []) }
  }
  private static let record = [
    "path", "slot", "checksum_hi", "checksum_lo", "checksum_m", "checksum_v", "last_step",
    "updates",
    "tokens",
  ]
  private static let tables = [
    Table(
      name: "meta", key: "rowid",
      numbers: [
        "created_ns", "blocks", "parameters", "bytes_hi", "bytes_lo", "bytes_m", "bytes_v",
      ], bytes: "identity"),
    Table(
      name: "path", key: "id", numbers: ["id", "slots", "drained", "bytes_written"],
      bytes: "directory"),
    Table(name: "generation", key: "step", numbers: ["step", "committed_at"], bytes: "payload"),
    Table(name: "record", key: "block", numbers: ["block"] + record, bytes: nil),
    Table(
      name: "superseded", key: "generation, block", numbers: ["generation", "block"] + record,
      bytes: nil),
  ]

  private let handle: OpaquePointer

  /// Takes the bytes of a manifest in whole.
  init(_ file: [UInt8]) {
    var opened: OpaquePointer?
    guard unsafe sqlite3_open(":memory:", &opened) == SQLITE_OK, let handle = unsafe opened,
      let memory = unsafe sqlite3_malloc64(UInt64(file.count))
    else { fatalError("no database in memory") }
    unsafe self.handle = unsafe handle
    unsafe memory.copyMemory(from: file, byteCount: file.count)
    let bytes = unsafe memory.assumingMemoryBound(to: UInt8.self)
    // Without a write-ahead log: a database in memory has none.
    unsafe (bytes[18], bytes[19]) = (1, 1)
    let code = unsafe sqlite3_deserialize(
      handle, "main", bytes, Int64(file.count), Int64(file.count),
      UInt32(SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE))
    precondition(code == SQLITE_OK, "a database of these bytes")
  }

  deinit { unsafe _ = sqlite3_close_v2(handle) }

  /// The file with digests of all rows as they are now.
  func sealed() -> [UInt8] {
    var seal = RowDigest.none
    for table in Self.tables { seal += addDigests(table) }
    execute("UPDATE seal SET digest = \(seal.stored)")
    var size: Int64 = 0
    guard let bytes = unsafe sqlite3_serialize(handle, "main", &size, 0) else {
      fatalError("no memory for a manifest")
    }
    defer { unsafe sqlite3_free(bytes) }
    return unsafe Array(UnsafeBufferPointer(start: bytes, count: Int(size)))
  }

  // MARK: Content

  /// What the small store holds that does not depend on the process: with `constant` its creation
  /// and directories, on small pages; without, generations and records.
  func make(constant: Bool) {
    if constant {
      execute("PRAGMA page_size = 512; VACUUM")
      execute("UPDATE meta SET created_ns = \(Self.created)")
      move(to: "/dev/shm/pagoda")
      return
    }
    for step in [10, 20, 30] {
      execute("INSERT INTO generation VALUES (\(step), 1700000000, 0, x'7b7d')")
    }
    for (slot, block) in [0, 1, 1 << 56, 1 << 56 | 1 << 16].enumerated() {
      execute(
        "INSERT INTO record VALUES (\(block), \(slot % 2), \(slot), 1, 2, 3, 4, 30, 3, 99, 0)")
    }
    execute("INSERT INTO superseded VALUES (20, 0, 1, 6, 5, 6, 7, 8, 10, 1, 33, 0)")
    execute("INSERT INTO superseded VALUES (30, 0, 0, 7, 5, 6, 7, 8, 20, 2, 66, 0)")
    execute("INSERT INTO superseded VALUES (30, 1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0)")
  }

  /// Says that the directories `a` and `b` are in this one.
  func move(to parent: String) {
    execute("UPDATE path SET directory = '\(parent)/' || char(97 + id)")
  }

  /// Changes rows as `bytes` say, twelve for each change: what and in which table, row, column, kind
  /// of value, value.
  func edit(_ bytes: [UInt8]) {
    for start in stride(from: 0, to: bytes.count - 11, by: 12) {
      let table = Self.tables[Int(bytes[start] % 5)]
      let columns = table.numbers + (table.bytes.map { [$0] } ?? [])
      let column = columns[Int(bytes[start + 2]) % columns.count]
      let value = Self.value(bytes[start + 3], bytes[(start + 4)..<(start + 12)])
      let row =
        "(\(table.key)) = (SELECT \(table.key) FROM \(table.name) LIMIT 1 OFFSET \(bytes[start + 1]))"
      switch bytes[start] / 5 % 3 {
      case 0: attempt("UPDATE OR IGNORE \(table.name) SET \(column) = \(value) WHERE \(row)")
      case 1: attempt("DELETE FROM \(table.name) WHERE \(row)")
      default:
        let copied = table.columns.map { $0 == column ? value : $0 }.joined(separator: ", ")
        attempt(
          "INSERT OR IGNORE INTO \(table.name) SELECT \(copied) FROM \(table.name) WHERE \(row)")
      }
    }
  }

  private static let notable = [
    "0", "1", "-1", "2", "9223372036854775807", "-9223372036854775807 - 1", "1 << 40",
    "(1 << 40) + 1", "4294967296", "1 << 56", "(1 << 28) - 1", "1 << 62", "NULL", "''", "1.5",
    "'..'", "'/dev/shm/../etc'", "'relative'", "x'00'", "x'ff'",
  ]

  private static func value(_ kind: UInt8, _ bytes: ArraySlice<UInt8>) -> String {
    if kind % 2 == 0 { return notable[Int(kind / 2) % notable.count] }
    let number = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return number == 1 << 63 ? "-9223372036854775807 - 1" : "\(Int64(bitPattern: number))"
  }

  // MARK: Digests

  /// Writes the digest of every row.
  /// - Returns: their sum.
  private func addDigests(_ table: Table) -> RowDigest {
    let columns = ([table.key] + table.numbers + [table.bytes ?? "NULL"]).joined(separator: ", ")
    let rows = unsafe prepare("SELECT \(columns) FROM \(table.name)")
    defer { unsafe _ = sqlite3_finalize(rows) }
    let keys = table.key.split(separator: ",").count
    var (sum, updates) = (RowDigest.none, "")
    while unsafe sqlite3_step(rows) == SQLITE_ROW {
      let numbers = table.numbers.indices.map {
        unsafe sqlite3_column_int64(rows, Int32(keys + $0))
      }
      let bytes = unsafe Self.bytes(of: rows, Int32(keys + numbers.count))
      let digest = RowDigest(table.name, Self.asRead(numbers, table.name), bytes)
      sum += digest
      let key = (0..<keys).map { unsafe "\(sqlite3_column_int64(rows, Int32($0)))" }
      updates +=
        "UPDATE \(table.name) SET digest = \(digest.stored) "
        + "WHERE (\(table.key)) = (\(key.joined(separator: ", ")));"
    }
    execute(updates)
    return sum
  }

  /// The numbers that the store makes of a row's: it knows one drained path and one virgin block.
  private static func asRead(_ numbers: [Int64], _ table: String) -> [Int64] {
    var numbers = numbers
    if table == "path", numbers[2] != 0 { numbers[2] = 1 }
    if table == "superseded", numbers[2] < 0 {
      numbers = numbers[..<2] + [-1, -1] + [Int64](repeating: 0, count: 7)
    }
    return numbers
  }

  private static func bytes(of row: OpaquePointer, _ column: Int32) -> [UInt8] {
    guard let start = unsafe sqlite3_column_blob(row, column) else { return [] }
    let count = Int(unsafe sqlite3_column_bytes(row, column))
    return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
  }

  private func prepare(_ sql: String) -> OpaquePointer {
    var prepared: OpaquePointer?
    let code = unsafe sqlite3_prepare_v2(handle, sql, -1, &prepared, nil)
    guard code == SQLITE_OK, let statement = unsafe prepared else { fatalError("\(sql): \(code)") }
    return unsafe statement
  }

  private func execute(_ sql: String) {
    let code = attempt(sql)
    precondition(code == SQLITE_OK, "\(sql): \(code)")
  }

  /// Runs a change that the table may refuse, such as a text for its key.
  @discardableResult
  private func attempt(_ sql: String) -> Int32 {
    unsafe sqlite3_exec(handle, sql, nil, nil, nil)
  }
}

import Base
internal import CSQLite
import Glibc

/// An open SQLite database. Owner of the handle.
@safe struct Connection: ~Copyable {
  enum Mode {
    /// There already and empty or a database, for reading and writing.
    case readWrite
    case readOnly
    /// Reading without any side effect on the directory: no journal, no shared memory, no locks.
    case immutable
  }

  let path: String
  private let handle: OpaquePointer

  /// - Parameter fileSystem: SQLite's name of the one that `path` is on; nil: the system's.
  init(_ path: String, _ mode: Mode, on fileSystem: String?) throws(StorageError) {
    let flags =
      switch mode {
      case .readWrite: SQLITE_OPEN_READWRITE
      case .readOnly, .immutable: SQLITE_OPEN_READONLY
      }
    let suffix = mode == .immutable ? "?immutable=1" : ""
    var opened: OpaquePointer?
    let code = unsafe sqlite3_open_v2(
      "file:\(Self.escape(Self.resolved(path)))\(suffix)", &opened,
      flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE, fileSystem)
    guard code == SQLITE_OK, let handle = unsafe opened else {
      let message = unsafe opened.map { unsafe String(cString: sqlite3_errmsg($0)) }
      unsafe sqlite3_close_v2(opened)
      throw .manifest(path: path, action: "open", code: code, message: message ?? "no memory")
    }
    self.path = path
    unsafe self.handle = unsafe handle
  }

  deinit { unsafe sqlite3_close_v2(handle) }

  /// Runs statements that return nothing of interest.
  func execute(_ sql: String) throws(StorageError) {
    let code = unsafe sqlite3_exec(handle, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw failure(sql, code) }
  }

  func prepare(_ sql: String) throws(StorageError) -> Statement {
    var prepared: OpaquePointer?
    let code = unsafe sqlite3_prepare_v2(handle, sql, -1, &prepared, nil)
    guard code == SQLITE_OK, let statement = unsafe prepared else { throw failure(sql, code) }
    return unsafe Statement(path: path, sql: sql, handle: statement)
  }

  /// The one integer that a pragma or a count returns.
  func integer(_ sql: String) throws(StorageError) -> Int {
    let statement = try prepare(sql)
    guard try statement.step() else {
      throw .inconsistent(path: path, reason: "no answer to \(sql)")
    }
    return Int(statement.integer(0))
  }

  /// Runs `body` between BEGIN and COMMIT; all or nothing.
  func transaction(_ body: () throws(StorageError) -> Void) throws(StorageError) {
    try execute("BEGIN IMMEDIATE")
    do {
      try body()
      try execute("COMMIT")
    } catch {
      // SQLite has rolled back by itself after some errors (full disk), and then refuses this one.
      unsafe sqlite3_exec(handle, "ROLLBACK", nil, nil, nil)
      throw error
    }
  }

  /// Whether a result code says that the file itself is not, or no longer, a database, or not the
  /// one that these statements are for: a statement is only wrong when the schema is.
  static func isDamage(_ code: Int32) -> Bool {
    [SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_ERROR].contains(code & 0xff)
  }

  private func failure(_ sql: String, _ code: Int32) -> StorageError {
    let message = unsafe String(cString: sqlite3_errmsg(handle))
    return .manifest(path: path, action: String(sql.prefix(40)), code: code, message: message)
  }

  /// `path` without symbolic links in its directory. SQLite, told to follow none, would refuse those
  /// too, which may lead to the drive; the file itself must not be one.
  private static func resolved(_ path: String) -> String {
    guard let name = path.split(separator: "/").last,
      let found = unsafe realpath(parent(of: path), nil)
    else { return path }
    defer { unsafe free(found) }
    return unsafe String(cString: found) + "/" + name
  }

  /// Percent-encodes what has a meaning in an SQLite URI.
  private static func escape(_ path: String) -> String {
    path.reduce(into: "") { result, character in
      switch character {
      case "%": result += "%25"
      case "?": result += "%3f"
      case "#": result += "%23"
      default: result.append(character)
      }
    }
  }
}

/// A prepared statement. Owner of the handle; lives no longer than its connection.
@safe struct Statement: ~Copyable {
  private let path: String
  private let sql: String
  private let handle: OpaquePointer

  /// SQLITE_TRANSIENT, a cast the importer cannot do: SQLite copies the bytes before it returns.
  private static var transient: sqlite3_destructor_type {
    unsafe unsafeBitCast(-1, to: sqlite3_destructor_type.self)
  }

  fileprivate init(path: String, sql: String, handle: OpaquePointer) {
    (self.path, self.sql) = (path, sql)
    unsafe self.handle = unsafe handle
  }

  deinit { unsafe sqlite3_finalize(handle) }

  /// Parameters count from 1, columns from 0, as in SQLite.
  func bind(_ index: Int32, _ value: Int64) {
    let code = unsafe sqlite3_bind_int64(handle, index, value)
    precondition(code == SQLITE_OK, "a parameter of this statement")
  }
  func bind(_ index: Int32, _ value: Int) { bind(index, Int64(value)) }
  func bind(_ index: Int32, _ text: String) {
    let code = unsafe sqlite3_bind_text(handle, index, text, -1, Self.transient)
    precondition(code == SQLITE_OK, "a parameter of this statement")
  }
  /// Binds the first parameters, one after another.
  func bind(_ values: [Int64]) {
    for (index, value) in values.enumerated() { bind(Int32(index + 1), value) }
  }
  func bind(_ index: Int32, blob: [UInt8]) throws(StorageError) {
    let code = unsafe blob.withUnsafeBytes {
      unsafe sqlite3_bind_blob64(
        handle, index, $0.baseAddress, UInt64($0.count), Self.transient)
    }
    guard code == SQLITE_OK else { throw failure(code) }
  }

  /// True when a row is there, false when the statement is done.
  func step() throws(StorageError) -> Bool {
    let code = unsafe sqlite3_step(handle)
    switch code {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    default: throw failure(code)
    }
  }

  /// Runs a statement without rows and makes it ready for the next parameters.
  func run() throws(StorageError) {
    _ = try step()
    unsafe sqlite3_reset(handle)
  }

  func integer(_ column: Int32) -> Int64 { unsafe sqlite3_column_int64(handle, column) }
  func text(_ column: Int32) -> String {
    guard let start = unsafe sqlite3_column_text(handle, column) else { return "" }
    return unsafe String(cString: start)
  }
  func blob(_ column: Int32) -> [UInt8] {
    guard let start = unsafe sqlite3_column_blob(handle, column) else { return [] }
    let count = Int(unsafe sqlite3_column_bytes(handle, column))
    return unsafe Array(UnsafeRawBufferPointer(start: start, count: count))
  }

  private func failure(_ code: Int32) -> StorageError {
    let message = unsafe String(cString: sqlite3_errstr(code))
    return .manifest(path: path, action: String(sql.prefix(40)), code: code, message: message)
  }
}

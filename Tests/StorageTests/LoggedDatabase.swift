import CSQLite

/// A database whose changes stay in its write-ahead log until the end of the process.
@safe final class LoggedDatabase {
  private let handle: OpaquePointer

  struct Failure: Error { let code: Int32 }

  init(_ path: String) throws {
    var opened: OpaquePointer?
    let code = unsafe sqlite3_open_v2(path, &opened, SQLITE_OPEN_READWRITE, nil)
    guard code == SQLITE_OK, let handle = unsafe opened else { throw Failure(code: code) }
    unsafe self.handle = unsafe handle
    try run("PRAGMA journal_mode = WAL")
    try run("PRAGMA wal_autocheckpoint = 0")
  }
  deinit { unsafe sqlite3_close_v2(handle) }

  func run(_ sql: String) throws {
    let code = unsafe sqlite3_exec(handle, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw Failure(code: code) }
  }
}

import CSQLite
import Glibc
import Simulation

/// A database of numbers in a directory of one test.
@safe final class Database {
  private let handle: OpaquePointer

  init(_ path: String, on databases: SimulatedDatabases) throws {
    var opened: OpaquePointer?
    let code = unsafe sqlite3_open_v2(
      path, &opened, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, databases.name)
    guard code == SQLITE_OK, let handle = unsafe opened else {
      unsafe sqlite3_close_v2(opened)
      throw Failure(code: code)
    }
    unsafe self.handle = unsafe handle
  }
  deinit { unsafe sqlite3_close_v2(handle) }

  struct Failure: Error { let code: Int32 }

  func run(_ sql: String) throws {
    let code = unsafe sqlite3_exec(handle, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw Failure(code: code) }
  }

  func number(_ sql: String) throws -> Int {
    var statement: OpaquePointer?
    let code = unsafe sqlite3_prepare_v2(handle, sql, -1, &statement, nil)
    defer { unsafe sqlite3_finalize(statement) }
    guard code == SQLITE_OK else { throw Failure(code: code) }
    let result = unsafe sqlite3_step(statement)
    guard result == SQLITE_ROW else { throw Failure(code: result) }
    return Int(unsafe sqlite3_column_int64(statement, 0))
  }
}

/// A directory of one test, in memory where there is some, gone with it.
final class TestDirectory {
  let path: String

  init() throws {
    let parent = unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"
    var template = Array("\(parent)/pagoda-simulation-XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw Database.Failure(code: errno) }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
  deinit { unsafe _ = system("rm -rf '\(path)'") }
}

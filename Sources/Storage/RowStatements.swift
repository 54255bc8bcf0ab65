import Base

/// What a transaction does once for every record, prepared once: a statement takes longer to
/// prepare than to run.
///
/// Gone before the transaction of its rows ends.
struct RowStatements: ~Copyable {
  private let record: Statement
  private let superseded: Statement
  private let removal: Statement

  init(_ connection: borrowing Connection) throws(StorageError) {
    let record = try connection.prepare(
      "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    let superseded = try connection.prepare(
      "INSERT OR REPLACE INTO superseded VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    let removal = try connection.prepare("DELETE FROM record WHERE block = ?")
    self.record = record
    self.superseded = superseded
    self.removal = removal
  }

  /// - Returns: the digest of the row.
  func put(_ new: Record, of block: BlockID) throws(StorageError) -> RowDigest {
    let numbers = ManifestRow.numbers(of: block, new)
    let digest = ManifestRow.record(numbers)
    try run(record, numbers, digest)
    return digest
  }

  /// - Returns: the digest of the row.
  func put(_ old: Superseded, by step: Int) throws(StorageError) -> RowDigest {
    let numbers = ManifestRow.numbers(of: old, by: step)
    let digest = ManifestRow.superseded(numbers)
    try run(superseded, numbers, digest)
    return digest
  }

  func remove(_ block: BlockID) throws(StorageError) {
    removal.bind(1, block.rawValue)
    try removal.run()
  }

  /// The digest is the last column.
  private func run(
    _ statement: borrowing Statement, _ numbers: [Int64], _ digest: RowDigest
  ) throws(StorageError) {
    statement.bind(numbers)
    statement.bind(Int32(numbers.count + 1), digest.stored)
    try statement.run()
  }
}

import Base

/// The rows of the manifest with their digests, as numbers in the order of their columns.
enum ManifestRow {
  static func meta(_ store: StoreDescription) -> RowDigest {
    RowDigest(
      "meta", numbers(of: store), Array(store.identity.utf8))
  }

  static func numbers(of store: StoreDescription) -> [Int64] {
    let content = Plane.allCases.map { Int64(store.geometry.contentBytes[$0]) }
    return [
      Int64(store.createdNanoseconds), Int64(store.blocks), Int64(store.geometry.parameters),
    ] + content
  }

  static func path(_ path: StorePath, id: Int) -> RowDigest {
    RowDigest("path", numbers(of: path, id: id), Array(path.directory.utf8))
  }

  static func numbers(of path: StorePath, id: Int) -> [Int64] {
    [Int64(id), Int64(path.slots), path.isDrained ? 1 : 0, Int64(path.bytesWritten)]
  }

  static func generation(_ generation: Generation) -> RowDigest {
    RowDigest("generation", numbers(of: generation), generation.payload)
  }

  static func numbers(of generation: Generation) -> [Int64] {
    [Int64(generation.step), Int64(generation.committedAt)]
  }

  static func record(_ block: BlockID, _ record: Record) -> RowDigest {
    Self.record(numbers(of: block, record))
  }
  static func record(_ numbers: [Int64]) -> RowDigest { RowDigest("record", numbers) }

  static func numbers(of block: BlockID, _ record: Record) -> [Int64] {
    let (slot, history) = (record.slot, record.history)
    let sums = record.checksums.map { Int64(bitPattern: $0) }
    return [
      block.rawValue, Int64(slot.path), Int64(slot.index), sums[.hi], sums[.lo], sums[.m],
      sums[.v], Int64(history.lastStep), Int64(history.updates), Int64(history.tokens),
    ]
  }

  static func superseded(_ old: Superseded, by step: Int) -> RowDigest {
    superseded(numbers(of: old, by: step))
  }
  static func superseded(_ numbers: [Int64]) -> RowDigest { RowDigest("superseded", numbers) }

  /// A block that was virgin has the slot -1 on path -1.
  static func numbers(of old: Superseded, by step: Int) -> [Int64] {
    let virgin = [old.block.rawValue, -1, -1] + [Int64](repeating: 0, count: 7)
    return [Int64(step)] + (old.record.map { numbers(of: old.block, $0) } ?? virgin)
  }

  /// The record in the columns of a row, from `first` on.
  static func record(
    _ row: borrowing Statement, from first: Int32
  ) -> (block: Int64, record: Record) {
    let sums = PlaneValues(hi: first + 3, lo: first + 4, m: first + 5, v: first + 6).map {
      UInt64(bitPattern: row.integer($0))
    }
    return (
      row.integer(first),
      Record(
        slot: Slot(path: Int(row.integer(first + 1)), index: Int(row.integer(first + 2))),
        checksums: sums,
        history: BlockHistory(
          lastStep: Int(row.integer(first + 7)), updates: Int(row.integer(first + 8)),
          tokens: Int(row.integer(first + 9))))
    )
  }
}

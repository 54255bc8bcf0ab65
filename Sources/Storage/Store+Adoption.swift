package import Base
import DirectIO

extension Store {
  /// A record of another store that becomes one of this.
  package struct Adoption {
    package let store: Store
    package let from: BlockID
    package let to: BlockID

    /// - Parameter store: with a record of `from`, on the same disk as the one that takes it over, and
    ///   with records of the same geometry.
    package init(_ store: Store, _ from: BlockID, as to: BlockID) {
      (self.store, self.from, self.to) = (store, from, to)
    }
  }

  /// Takes over records as they are, bytes, checksums and history: they belong to the open generation.
  /// Where the file system can let two files share what they have in common (btrfs, XFS with reflinks)
  /// nothing is copied, and damage is found where damage of the source is: at the first read. Elsewhere each
  /// record is checked on the way.
  /// - Parameter progress: told of bytes.
  /// - Throws: `StorageError` of the first record that cannot be copied, or that is damaged.
  package func adopt(
    _ adoptions: [Adoption], progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(StorageError) {
    let total = adoptions.count * geometry.recordBytes
    var items: [RecordPipeline.Item] = []
    for adoption in adoptions {
      precondition(adoption.store.geometry == geometry, "records of one geometry")
      guard let record = adoption.store.record(of: adoption.from) else {
        preconditionFailure("a record to take over")
      }
      let source = adoption.store.place(of: adoption.from)
      guard
        let target = beginWrite(
          adoption.to, checksums: record.checksums, history: record.history)
      else { preconditionFailure("a slot for every block") }
      items.append(
        RecordPipeline.Item(block: adoption.from, record: record, source: source, target: target))
    }
    var clones = RangeClones()
    let copied = items.filter { item in
      guard let target = item.target else { return true }
      return !clones.share(
        (item.source.path, item.source.offset), with: (target.path, target.offset),
        byteCount: geometry.recordBytes)
    }
    progress(total - copied.count * geometry.recordBytes, total)
    let shared = total - copied.count * geometry.recordBytes
    try copy(copied) { done, _ in progress(shared + done, total) }
  }
}

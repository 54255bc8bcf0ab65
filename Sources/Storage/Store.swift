package import Base
package import DirectIO
import Glibc
package import PinnedMemory

/// Where the planes of one record lie.
package struct RecordPlace: Sendable {
  package let file: DiskFile
  package let path: String
  /// Of the record, in bytes from the start of the file.
  package let offset: Int
}

/// All records of a model: knows where each block's newest bytes are, and proves that bytes read
/// are the ones written. Moves no records itself: whoever owns the memory submits the transfers.
///
/// Copy on write: a slot of the last generation is never written. The first write of a block after
/// a commit takes a free slot, later ones overwrite that one, and the next commit frees the old.
///
/// Belongs to one thread, like its disk.
package final class Store {
  package let description: StoreDescription
  package let disk: any Disk
  package let isReadOnly: Bool
  /// The last committed generation; nil in a new store.
  package private(set) var generation: Generation?

  package var geometry: RecordGeometry { description.geometry }

  private let files: [DataFile]
  private let manifest: Manifest
  private let lock: StoreLock
  private var entries: [BlockID: RecordEntry]
  private var slots: SlotTable
  /// Blocks with a record in the open generation.
  private var changed: Set<BlockID> = []
  /// A sync that failed. The kernel reports a lost write once and may then forget it: no later sync
  /// can vouch for the open records.
  private var syncFailure: DiskError?

  init(
    description: StoreDescription, disk: any Disk, isReadOnly: Bool, files: [DataFile],
    manifest: consuming Manifest, lock: consuming StoreLock
  ) throws(StorageError) {
    let entries = try manifest.records()
    let used = entries.values.map(\.slot)
    guard let slots = SlotTable(slots: description.slotsPerPath, used: used) else {
      throw .inconsistent(
        path: files[0].path, reason: "the manifest puts records outside the file or over another")
    }
    generation = try manifest.generation()
    self.description = description
    self.disk = disk
    self.isReadOnly = isReadOnly
    self.files = files
    self.manifest = manifest
    self.lock = lock
    self.entries = entries
    self.slots = slots
  }
}

// MARK: Records

extension Store {
  /// What is known of `block`; nil when it is virgin.
  package func entry(of block: BlockID) -> RecordEntry? { entries[block] }

  /// All blocks that were written at least once, in ascending order.
  package var writtenBlocks: [BlockID] { entries.keys.sorted() }

  /// Whether all data files bypass the page cache.
  package var isDirect: Bool { files.allSatisfy { disk.isDirect($0.file) } }

  /// Slots that hold neither a committed nor an open record.
  package var freeSlotCount: Int { slots.freeCount }

  /// Where the newest bytes of a block are; the block is not virgin.
  package func place(of block: BlockID) -> RecordPlace {
    guard let entry = entries[block] else { preconditionFailure("a virgin block has no place") }
    return place(entry.slot)
  }

  /// Where the next bytes of `block` go. From now on they are its newest ones: whoever asks writes
  /// all four planes there before anyone reads the block from the disk.
  package func beginWrite(
    _ block: BlockID, checksums: PlaneValues<UInt64>, history: BlockHistory
  ) -> RecordPlace {
    precondition(!isReadOnly, "a store opened for reading is not written")
    precondition(
      entries[block] != nil || entries.count < description.blocks,
      "no more blocks than the store was made for")
    let old = entries[block]
    guard let open = old?.open ?? slots.take() else {
      preconditionFailure("two slots per block are enough")
    }
    entries[block] = RecordEntry(
      committed: old?.committed, open: open, checksums: checksums, history: history)
    changed.insert(block)
    return place(open)
  }

  /// Compares bytes read of a plane with the checksum of what was written; nil when they are right.
  package func damage(of plane: Plane, in block: BlockID, read bytes: PinnedSlice) -> Damage? {
    guard let entry = entries[block] else { preconditionFailure("a virgin block is never read") }
    let found = checksum(of: bytes)
    if found == entry.checksums[plane] { return nil }
    let place = place(entry.slot)
    return Damage(
      block: block, plane: plane, path: place.path,
      offset: place.offset + geometry.offset(of: plane), length: bytes.byteCount, found: found,
      expected: entry.checksums[plane])
  }

  private func place(_ slot: Slot) -> RecordPlace {
    let file = files[slot.path]
    return RecordPlace(
      file: file.file, path: file.path,
      offset: file.offset(of: slot, recordBytes: geometry.recordBytes))
  }
}

// MARK: Generations

extension Store {
  /// Makes all records written so far the last generation. Their transfers have completed.
  ///
  /// Until this returns the previous generation is whole; when it throws, it still is the last one,
  /// and the open records are kept for another try, except after a failed sync: then every further
  /// try fails the same way, and the store is to be opened again.
  package func commit(step: Int, payload: [UInt8]) throws(StorageError) {
    precondition(!isReadOnly, "a store opened for reading is not committed")
    if let syncFailure { throw .disk(syncFailure) }
    do {
      for file in files { try disk.sync(file.file) }
    } catch {
      syncFailure = error
      throw .disk(error)
    }
    let next = Generation(step: step, committedAt: time(nil), payload: payload)
    let records = changed.sorted().compactMap { block in entries[block].map { (block, $0) } }
    try manifest.commit(next, changed: records)

    generation = next
    for (block, entry) in records {
      if let superseded = entry.committed { slots.putBack(superseded) }
      entries[block]?.committed = entry.open
      entries[block]?.open = nil
    }
    changed = []
  }
}

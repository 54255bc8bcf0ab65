package import Base
package import DirectIO
import Glibc

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
/// Copy on write: a slot of a durable generation is never written. `freeze` ends a generation, in
/// no time; `makeDurable` has it committed beside whatever goes on; `finishCommit` hears of that
/// and frees the slots that nobody needs any more.
///
/// Belongs to one thread, like its disk.
package final class Store {
  package internal(set) var description: StoreDescription
  package let disk: any Disk
  package let isReadOnly: Bool
  /// Generations to keep, the last one included. More are kept while somebody reads them.
  let keep: Int

  package var geometry: RecordGeometry { description.geometry }

  /// By the number of their path; nil where that is drained.
  let files: [DataFile?]
  let manifest: Manifest
  let lock: StoreLock
  var table: RecordTable
  /// Bytes of records written to each path since the store was opened.
  private var bytesWritten: [Int]
  private var closing: Closing?
  private var underWay: CommitErrand?
  /// A sync that failed. The kernel reports a lost write once and may then forget it: no later sync
  /// can vouch for the open records.
  private var syncFailure: DiskError?

  /// A generation between its freeze and its errand.
  private struct Closing {
    let step: Int
    let payload: [UInt8]
  }

  init(
    _ content: Manifest.Content, disk: any Disk, isReadOnly: Bool, keep: Int, files: [DataFile?],
    manifest: Manifest, lock: StoreLock
  ) {
    self.description = content.store
    self.table = content.table
    self.disk = disk
    self.isReadOnly = isReadOnly
    self.keep = keep
    self.files = files
    self.manifest = manifest
    self.lock = lock
    bytesWritten = files.map { _ in 0 }
  }

  /// The errand uses files of the disk.
  deinit { underWay?.wait() }
}

// MARK: Records

extension Store {
  /// What is known of the newest version of `block`; nil when it is virgin.
  package func record(of block: BlockID) -> Record? { table.newest(block) }

  /// All blocks that were written at least once, in ascending order.
  package var writtenBlocks: [BlockID] { table.blocks }

  /// Whether all data files bypass the page cache.
  package var isDirect: Bool { files.allSatisfy { $0.map { disk.isDirect($0.file) } ?? true } }

  /// Slots that hold no record of any generation.
  package var freeSlotCount: Int { table.freeCount }

  /// Where the newest bytes of a block are; the block is not virgin.
  package func place(of block: BlockID) -> RecordPlace {
    guard let record = table.newest(block) else {
      preconditionFailure("a virgin block has no place")
    }
    return place(record.slot)
  }

  func place(_ slot: Slot) -> RecordPlace {
    guard let file = files[slot.path] else {
      preconditionFailure("a drained path holds no record")
    }
    return RecordPlace(
      file: file.file, path: file.path,
      offset: file.offset(of: slot, recordBytes: geometry.recordBytes))
  }

  /// Where the next bytes of `block` go. From now on they are its newest ones: whoever asks writes
  /// all four planes there before anyone reads the block from the disk.
  /// - Parameter isLate: the bytes belong to the generation that was frozen last.
  /// - Returns: nil when no slot is free before `finishCommit` has freed some.
  package func beginWrite(
    _ block: BlockID, isLate: Bool = false, checksums: PlaneValues<UInt64>, history: BlockHistory
  ) -> RecordPlace? {
    precondition(!isReadOnly, "a store opened for reading is not written")
    precondition(!isLate || isFrozen, "late writes are of a frozen generation")
    guard let slot = table.write(block, toClosing: isLate, checksums, history) else { return nil }
    bytesWritten[slot.path] += geometry.recordBytes
    return place(slot)
  }

  /// Compares the checksum of a plane as it was read with that of what was written; nil when they are
  /// the same.
  package func damage(of plane: Plane, in block: BlockID, found: UInt64) -> Damage? {
    guard let record = table.newest(block) else {
      preconditionFailure("a virgin block is never read")
    }
    if found == record.checksums[plane] { return nil }
    let place = place(record.slot)
    return Damage(
      block: block, plane: plane, path: place.path,
      offset: place.offset + geometry.offset(of: plane), length: geometry.planeBytes(plane),
      found: found,
      expected: record.checksums[plane], state: state(of: block))
  }

  /// Whether no durable generation has the newest record of `block`.
  package func isUncommitted(_ block: BlockID) -> Bool { table.isUncommitted(block) }

  /// Whether the newest record of `block` belongs to the generation that is being made durable.
  package func isClosing(_ block: BlockID) -> Bool { table.isClosing(block) }

  /// What is left without the newest record of `block`.
  package func state(of block: BlockID) -> Damage.State {
    if table.isUncommitted(block) { return .uncommitted(lastGeneration: generation?.step) }
    return .committed(wholeGeneration: table.generation(without: block)?.step)
  }
}

// MARK: Generations

extension Store {
  /// The last durable generation; nil in a new store.
  package var generation: Generation? { table.kept.last?.generation }

  /// All that can be gone back to, the oldest first.
  package var generations: [Generation] { table.kept.map(\.generation) }

  /// Whether a generation is frozen and not yet handed to `makeDurable`.
  private var isFrozen: Bool { closing != nil }
  /// Whether a generation is being made durable.
  package var isCommitting: Bool { underWay != nil }

  /// Whether a freeze with these late blocks finds slots for them; if not, a reader keeps an older
  /// generation from being dropped.
  package func hasRoom(for late: [BlockID]) -> Bool { table.hasRoom(for: late) }

  /// Ends the open generation: what is written from now on belongs to the next one.
  /// - Parameters:
  ///   - step: above that of the last generation.
  ///   - late: blocks whose bytes in this generation are still to be written, with `isLate`; there
  ///     is room for them.
  package func freeze(step: Int, payload: [UInt8], late: [BlockID] = []) {
    precondition(!isReadOnly, "a store opened for reading is not committed")
    precondition(!isFrozen && !isCommitting, "one generation closes at a time")
    precondition(step > generation?.step ?? -1, "generations are named by their steps")
    table.freeze(late: late)
    closing = Closing(step: step, payload: payload)
  }

  /// Begins to make the frozen generation durable; all its transfers have completed.
  /// - Parameter companions: syncs of other files that must be durable before it.
  package func makeDurable(_ companions: [@Sendable () throws(StorageError) -> Void] = []) {
    guard let closing else { preconditionFailure("a frozen generation is made durable") }
    self.closing = nil
    let commit = Commit(
      generation: Generation(
        step: closing.step, committedAt: time(nil), payload: closing.payload),
      records: table.closing, committed: table.committed, kept: table.kept, paths: writtenPaths)
    underWay = CommitErrand(
      commit, syncers: files.compactMap { $0.map { disk.syncer(of: $0.file) } },
      companions: companions, earlierFailure: syncFailure, keep: keep, manifest, lock, on: disk)
  }

  /// Hears whether the commit under way has ended, and frees what only older generations needed.
  ///
  /// Until then the generation before is whole; when this throws, it still is the last one, and the
  /// frozen one can be tried again. After a failed sync every further try fails the same way: the
  /// store is to be opened again.
  /// - Returns: the new generation; nil when none is under way or, unless `wait`, not yet durable.
  package func finishCommit(wait: Bool) throws(StorageError) -> Generation? {
    guard let errand = underWay, wait || errand.isDone else { return nil }
    underWay = nil
    let generation = errand.generation
    switch errand.outcome() {
    case .durable(let replaced, let dropped):
      table.commit(generation, replaced: replaced, dropped: dropped)
      return generation
    case .notSynced(let failure):
      closing = Closing(step: generation.step, payload: generation.payload)
      syncFailure = failure
      throw .disk(failure)
    case .failed(let failure):
      closing = Closing(step: generation.step, payload: generation.payload)
      throw failure
    }
  }

  /// The newest record of `block` is lost, as `error` says. A generation that needs it does not
  /// become one, unless it has already.
  package func giveUp(_ block: BlockID, _ error: StorageError) {
    guard table.isClosing(block), let underWay else { return }
    underWay.giveUp(error)
    _ = try? finishCommit(wait: true)
  }

  /// All three at once: makes the records written so far the last generation, and waits for that.
  package func commit(step: Int, payload: [UInt8]) throws(StorageError) {
    if !isFrozen { freeze(step: step, payload: payload) }
    precondition(closing?.step == step, "what failed is tried again as it was")
    makeDurable()
    _ = try finishCommit(wait: true)
  }

  /// Forgets generations that were kept for a reader, if it is gone and there are too many.
  /// - Returns: whether anything was forgotten.
  package func dropUnread() throws(StorageError) -> Bool {
    precondition(!isFrozen && !isCommitting, "between two commits")
    let extra = table.kept.count - keep
    guard extra > 0, lock.tryLock(.pin, .exclusive) else { return false }
    defer { lock.unlock(.pin) }
    try lock.lock(.manifest, .exclusive)
    defer { lock.unlock(.manifest) }
    try manifest.drop(extra, of: table.kept)
    table.drop(extra)
    return true
  }

  /// The paths with what was written to them so far.
  package var writtenPaths: [StorePath] {
    zip(description.paths, bytesWritten).map { path, bytes in
      var path = path
      path.bytesWritten += bytes
      return path
    }
  }
}

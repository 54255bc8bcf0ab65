import Base
import DirectIO
import Glibc

extension Store {
  /// Copies the last generation of this store, opened for reading, into a new store in `directory`:
  /// whole, checked on the way, and no larger than it must be.
  ///
  /// It is made in `directory.partial`, which gets its name last: an interrupted snapshot is no
  /// store, and the same call begins anew.
  /// - Throws: `.locked` while somebody else makes one there.
  package func snapshot(
    to directory: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(StorageError) -> Generation {
    precondition(isReadOnly, "the generation must stay as it is while it is copied")
    guard let generation else {
      throw .noGeneration(path: manifest.path, step: nil, kept: [])
    }
    let directory = Self.withoutSlash(directory)
    let partial = directory + ".partial"
    let copy = describeCopy(in: directory, slots: max(1, table.committed.count))
    try Self.requireFree(directory)
    let lock = try Self.takePartial(partial)
    do throws(StorageError) {
      let slots = copy.paths[0].slots
      let bytes =
        DataFile.byteCount(slots: slots, geometry: geometry) + Manifest.bytesMax(slots: slots)
      try requireSpace([bytes], on: [partial], isNew: true)
      try make(copy, in: partial, generation, progress)
      guard unsafe rename(partial, directory) == 0 else {
        throw .system(action: "rename \(partial) to", path: directory, code: errno)
      }
      try syncDirectory(parent(of: directory))
    } catch {
      try? Self.remove(Self.partialNames, from: partial)
      unsafe rmdir(partial)
      throw error
    }
    try Self.remove([Self.snapshotLockName], from: directory)
    withExtendedLifetime(lock) {}
    return generation
  }

  /// The lock of whoever makes a snapshot, and the mark of a directory that may be cleared.
  static let snapshotLockName = "snapshot.lock"

  /// All that is ever in the directory of a snapshot in the making; its mark goes last.
  private static var partialNames: [String] {
    [DataFile.name, ManifestDigest.name, ManifestDigest.name + ".new", Manifest.name]
      + ["", "-journal", "-wal", "-shm"].map { Manifest.name + ".new" + $0 } + [snapshotLockName]
  }

  private static func withoutSlash(_ directory: String) -> String {
    var name = directory
    while name.count > 1, name.hasSuffix("/") { name.removeLast() }
    return name
  }

  /// Refuses a target that is there, unless it is an empty directory, which goes.
  private static func requireFree(_ target: String) throws(StorageError) {
    guard try !exists(target + "/" + Manifest.name) else {
      throw .foreign(path: target + "/" + Manifest.name, reason: "a store is there already")
    }
    var status = stat()
    if unsafe lstat(target, &status) == 0, unsafe rmdir(target) != 0 {
      throw .foreign(path: target, reason: "it is there already and no empty directory")
    }
  }

  /// Makes the directory of a snapshot, or takes over that of an interrupted one and clears it.
  private static func takePartial(_ partial: String) throws(StorageError) -> StoreLock {
    let mark = partial + "/" + snapshotLockName
    if unsafe mkdir(partial, mode_t(0o700)) != 0 {
      guard errno == EEXIST else { throw .system(action: "create", path: partial, code: errno) }
      // An empty one is what ended before it had its mark.
      let isEmpty = unsafe rmdir(partial) == 0 && mkdir(partial, mode_t(0o700)) == 0
      let isMarked = try exists(mark)
      guard isEmpty || isMarked else {
        throw .foreign(path: partial, reason: "it is there and no interrupted snapshot")
      }
    }
    let lock = try StoreLock(mark, .exclusive)
    try remove(partialNames.filter { $0 != snapshotLockName }, from: partial)
    return lock
  }

  private func make(
    _ copy: StoreDescription, in partial: String, _ generation: Generation,
    _ progress: (Int, Int) -> Void
  ) throws(StorageError) {
    let bytes = DataFile.byteCount(slots: copy.paths[0].slots, geometry: geometry)
    try DataFile.make(partial, bytes: bytes, disk: disk)
    let file = try DataFile(
      partial + "/" + DataFile.name, bytes: bytes, disk: disk, mode: .readWrite)
    let copied = try fill(file, table.committed.sorted { $0.key < $1.key }, progress)
    try file.sign(DataFile.signature(of: 0, in: copy), on: disk)
    let commit = Commit(
      generation: generation, records: copied, committed: [:], kept: [], paths: copy.paths)
    try Self.makeManifest(in: partial, copy, commit, on: disk.databaseFileSystem)
  }

  private func describeCopy(in directory: String, slots: Int) -> StoreDescription {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    let name = fromRoot(parent(of: directory)) + "/" + (directory.split(separator: "/").last ?? "")
    return StoreDescription(
      identity: description.identity, geometry: geometry, blocks: description.blocks,
      paths: [
        StorePath(
          directory: name, slots: slots, isDrained: false,
          bytesWritten: slots * geometry.recordBytes)
      ], createdNanoseconds: now.tv_sec * 1_000_000_000 + now.tv_nsec)
  }

  /// Copies records into the first slots of `file`.
  /// - Returns: the records as they are there.
  private func fill(
    _ file: DataFile, _ records: [(key: BlockID, value: Record)], _ progress: (Int, Int) -> Void
  ) throws(StorageError) -> [BlockID: Record] {
    var copies: [BlockID: Record] = [:]
    var items: [RecordPipeline.Item] = []
    for (index, (block, record)) in records.enumerated() {
      let slot = Slot(path: 0, index: index)
      let target = RecordPlace(
        file: file.file, path: file.path,
        offset: file.offset(of: slot, recordBytes: geometry.recordBytes))
      items.append(
        RecordPipeline.Item(
          block: block, record: record, source: place(record.slot), target: target))
      copies[block] = Record(slot: slot, checksums: record.checksums, history: record.history)
    }
    try copy(items, progress)
    return copies
  }
}

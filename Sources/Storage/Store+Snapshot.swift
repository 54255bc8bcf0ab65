import Base
import DirectIO
import Glibc

extension Store {
  /// Copies the last generation of this store, opened for reading, into a new store in `directory`:
  /// whole, checked on the way, and no larger than it must be.
  ///
  /// It is made in `directory.partial`, which gets its name last: an interrupted snapshot is no
  /// store, and the same call begins anew.
  package func snapshot(
    to directory: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(StorageError) -> Generation {
    precondition(isReadOnly, "the generation must stay as it is while it is copied")
    guard let generation else {
      throw .noGeneration(path: manifest.path, step: nil, kept: [])
    }
    let partial = try Self.emptyPartial(of: directory)
    let records = table.committed.sorted { $0.key < $1.key }
    do throws(StorageError) {
      let copy = describeCopy(in: directory, slots: max(1, records.count))
      let bytes = DataFile.byteCount(slots: copy.paths[0].slots, geometry: geometry)
      try requireSpace([bytes], on: [partial], isNew: true)
      try makeDirectories([partial])
      try DataFile.make(partial, bytes: bytes, disk: disk)
      let file = try DataFile(
        partial + "/" + DataFile.name, bytes: bytes, disk: disk, mode: .readWrite)
      let copied = try fill(file, records, progress)
      try file.sign(DataFile.signature(of: 0, in: copy), on: disk)
      let commit = Commit(
        generation: generation, records: copied, committed: [:], kept: [], paths: copy.paths)
      try Self.makeManifest(in: partial, copy, commit, on: disk.databaseFileSystem)
      guard unsafe rename(partial, directory) == 0 else {
        throw .system(action: "rename \(partial) to", path: directory, code: errno)
      }
      try syncDirectory(parent(of: directory))
    } catch {
      try? Self.remove(Self.partialNames + [Manifest.name], from: partial)
      unsafe rmdir(partial)
      throw error
    }
    return generation
  }

  private static var partialNames: [String] {
    [DataFile.name, ManifestDigest.name, ManifestDigest.name + ".new"]
      + ["", "-journal", "-wal", "-shm"].map { Manifest.name + ".new" + $0 }
  }

  /// The directory in which a snapshot is made, with nothing of an interrupted one in it.
  private static func emptyPartial(of directory: String) throws(StorageError) -> String {
    var target = directory
    while target.count > 1, target.hasSuffix("/") { target.removeLast() }
    let partial = target + ".partial"
    for path in [target, partial] where try exists(path + "/" + Manifest.name) {
      throw .foreign(path: path + "/" + Manifest.name, reason: "a store is there already")
    }
    var status = stat()
    if unsafe lstat(target, &status) == 0, unsafe rmdir(target) != 0 {
      throw .foreign(path: target, reason: "it is there already and no empty directory")
    }
    if unsafe lstat(partial, &status) == 0 { try remove(partialNames, from: partial) }
    return partial
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

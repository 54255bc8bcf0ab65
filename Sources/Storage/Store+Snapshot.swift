import DirectIO
import Glibc

extension Store {
  /// Copies the last generation of this store, opened for reading, into a new store in `directory`:
  /// whole, checked on the way, and no larger than it must be.
  ///
  /// The manifest gets its name last: an interrupted snapshot is no store, and the same call makes
  /// it anew.
  package func snapshot(
    to directory: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(StorageError) -> Generation {
    precondition(isReadOnly, "the generation must stay as it is while it is copied")
    guard let generation else {
      throw .noGeneration(path: manifest.path, step: nil, kept: [])
    }
    let target = directory + "/" + Manifest.name
    guard try !Self.exists(target) else {
      throw .foreign(path: target, reason: "a store is there already")
    }
    let blocks = table.committed.sorted { $0.key < $1.key }
    let bytes = DataFile.byteCount(slots: max(1, blocks.count), geometry: geometry)
    try requireSpace([bytes], on: [directory], isNew: true)
    try makeDirectories([directory])
    try DataFile.make(directory, bytes: bytes, disk: disk)
    let path = StorePath(
      directory: fromRoot(directory), slots: max(1, blocks.count), isDrained: false,
      bytesWritten: blocks.count * geometry.recordBytes)
    let copy = StoreDescription(
      identity: description.identity, geometry: geometry, blocks: description.blocks,
      paths: [path], createdNanoseconds: description.createdNanoseconds + 1)
    let file = try DataFile(
      directory + "/" + DataFile.name, bytes: bytes, disk: disk, mode: .readWrite)

    var records = table.committed
    var items: [RecordPipeline.Item] = []
    for (index, (block, record)) in blocks.enumerated() {
      let slot = Slot(path: 0, index: index)
      items.append(
        RecordPipeline.Item(
          block: block, record: record, source: place(record.slot),
          target: RecordPlace(
            file: file.file, path: file.path,
            offset: file.offset(of: slot, recordBytes: geometry.recordBytes))))
      records[block] = Record(slot: slot, checksums: record.checksums, history: record.history)
    }
    try self.copy(items, progress)
    try file.sign(DataFile.signature(of: 0, in: copy), on: disk)
    let commit = Commit(
      generation: generation, records: records, committed: [:], kept: [], paths: [path])
    try Self.makeManifest(in: directory, copy, commit, on: disk.databaseFileSystem)
    return generation
  }
}

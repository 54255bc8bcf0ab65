package import Base
package import DirectIO
import Glibc

/// Changes to a store that nobody trains with or reads. It is to be opened again after each.
extension Store {
  /// Opens any store for maintenance, alone.
  /// - Parameter paths: its directories, in the order in which they became part.
  package static func openAlone(
    paths: [String], disk: any Disk
  ) throws(StorageError) -> Store {
    try checkDistinct(paths)
    try endMove(paths, on: disk.databaseFileSystem)
    let paths = try inUse(paths, on: disk.databaseFileSystem)
    let manifestPath = paths[0] + "/" + Manifest.name
    guard try exists(manifestPath) else { throw .missing(path: manifestPath, what: "the store") }
    // What is no store of ours gets no lock file.
    _ = try describe(paths[0], on: disk.databaseFileSystem)
    let lock = try StoreLock(paths[0] + "/" + lockName, .exclusive)
    try lock.keepReadersOut()
    try lock.lock(.manifest, .exclusive)
    lock.sign()
    let description = try Manifest.describe(manifestPath, on: disk.databaseFileSystem)
    let active = description.activePaths
    guard paths.count == active.count else {
      throw .directoriesLeftOut(
        path: manifestPath, recorded: active.map { description.paths[$0].directory }, named: paths)
    }
    let files = try openFiles(paths, description, disk: disk, mode: .readWrite)
    let manifest = try Manifest(manifestPath, .readWrite, on: disk.databaseFileSystem)
    let content = try manifest.load()
    try removeDrainedFiles(content.store)
    if let unsigned = files.unsigned.first, !content.table.isUnused(path: unsigned) {
      throw lostHeader(files.all[unsigned])
    }
    return Store(
      content, disk: disk, isReadOnly: false, keep: content.table.kept.count, files: files.all,
      manifest: manifest, lock: lock)
  }

  /// Makes the generation of `step` the last one; later ones are gone.
  /// - Throws: `.noGeneration` when it is not kept.
  package func rollBack(to step: Int) throws(StorageError) {
    guard generations.contains(where: { $0.step == step }) else {
      throw .noGeneration(path: manifest.path, step: step, kept: generations.map(\.step))
    }
    while let last = table.kept.last, last.generation.step > step {
      try manifest.rollBack(last, committed: table.committed)
      table.rollBack()
    }
  }

  /// Gives back what only older generations and writes to come need: forgets all generations but
  /// the last, moves its records to the front and cuts the files behind them. Training makes them
  /// longer again.
  /// - Returns: bytes given back.
  package func compact(
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(StorageError) -> Int {
    if table.kept.count > 1 {
      try manifest.drop(table.kept.count - 1, of: table.kept)
      table.drop(table.kept.count - 1)
    }
    var paths = description.paths
    var moves: [(version: RecordVersion, slot: Slot)] = []
    let versions = table.versions
    for id in description.activePaths {
      let here = versions.filter { $0.record.slot.path == id }
      let taken = Set(here.map(\.record.slot.index))
      let free = (0..<here.count).filter { !taken.contains($0) }
      let moving = here.reversed().filter { $0.record.slot.index >= here.count }
      moves += zip(moving, free).map { ($0, Slot(path: id, index: $1)) }
      paths[id].bytesWritten += moving.count * geometry.recordBytes
      paths[id].slots = max(1, here.count)
    }
    try move(moves, paths, progress)
    try manifest.vacuum()
    return try cutFiles(to: paths)
  }

  /// Forgets the records of some blocks, which the store has room for no longer: it has so many blocks
  /// fewer from now on. Older generations go first; then the records, in one transaction. `compact` gives
  /// the room back.
  /// - Parameter payload: of the last generation from now on.
  package func forget(_ blocks: Set<BlockID>, payload: [UInt8]) throws(StorageError) {
    guard let last = generation else {
      preconditionFailure("a store with a generation has something to forget")
    }
    precondition(blocks.count < description.blocks, "blocks of this store")
    if table.kept.count > 1 {
      try manifest.drop(table.kept.count - 1, of: table.kept)
      table.drop(table.kept.count - 1)
    }
    let records = blocks.sorted().compactMap { block in
      table.committed[block].map { (block: block, record: $0) }
    }
    var smaller = description
    smaller.blocks -= blocks.count
    let generation = Generation(step: last.step, committedAt: last.committedAt, payload: payload)
    try manifest.forget(records, from: description, to: smaller, (last, generation))
    description = smaller
    table.forget(Array(blocks), generation)
  }

  /// Moves all records away from `directory`, so that its drive can go, and deletes its data file.
  /// The other paths are made longer where they lack room.
  /// - Throws: `.notAPath` when the store has no such directory, or no other.
  package func drain(
    _ directory: String, progress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws(StorageError) {
    // Opening has ended what was interrupted.
    guard !description.isDrained(directory) else { return }
    let drained = try number(of: directory)
    let versions = table.versions
    let moving = versions.filter { $0.record.slot.path == drained }
    var paths = description.paths
    paths[drained].isDrained = true
    // Where it is now, in a copy of the store as well: what is there will be deleted.
    paths[drained].directory = fromRoot(directory)
    var counts = paths.map { $0.isDrained ? 0 : $0.slots }
    let free = counts.reduce(0, +) - (versions.count - moving.count)
    try grow(&counts, by: moving.count - free)
    for id in paths.indices where !paths[id].isDrained { paths[id].slots = counts[id] }

    let staying = versions.map(\.record.slot).filter { $0.path != drained }
    guard var slots = SlotTable(slots: counts, used: staying) else {
      preconditionFailure("the table was checked when it was read")
    }
    let moves = moving.map { version in
      guard let slot = slots.take() else { preconditionFailure("the paths were made longer") }
      paths[slot.path].bytesWritten += geometry.recordBytes
      return (version: version, slot: slot)
    }
    try move(moves, paths, progress)
    try leave(drained, paths)
  }

  /// The number of the path in use that is `directory`, however it is spelled.
  private func number(of directory: String) throws(StorageError) -> Int {
    let wanted = fromRoot(directory)
    let active = description.activePaths
    let found = active.first {
      files[$0].map { fromRoot(parent(of: $0.path)) } == wanted
    }
    guard let found, active.count > 1 else {
      throw .notAPath(
        path: manifest.path, directory: directory,
        directories: active.map { description.paths[$0].directory })
    }
    return found
  }
}

// MARK: Moving

extension Store {
  /// Copies versions into other slots, makes the copies durable, and then says so.
  private func move(
    _ moves: [(version: RecordVersion, slot: Slot)], _ paths: [StorePath],
    _ progress: (Int, Int) -> Void
  ) throws(StorageError) {
    let items = moves.map {
      RecordPipeline.Item(
        block: $0.version.block, record: $0.version.record, source: place($0.version.record.slot),
        target: place($0.slot))
    }
    try copy(items, progress)
    try manifest.write(moves, table.kept, paths)
  }

  /// Copies records, each checked on the way, and makes the copies durable.
  func copy(
    _ items: [RecordPipeline.Item], _ progress: (Int, Int) -> Void
  ) throws(StorageError) {
    var failure: StorageError?
    var done = 0
    try RecordPipeline(self).run(items) { index, outcome in
      done += geometry.recordBytes
      progress(done, items.count * geometry.recordBytes)
      let item = items[index]
      switch outcome {
      case .whole: return
      case .failed(let error): failure = failure ?? .transfer(item.block, .hi, .v, error)
      case .damaged(let planes):
        failure =
          failure
          ?? .inconsistent(
            path: item.source.path,
            reason: "\(item.block), plane \(planes.planes[0]), at offset \(item.source.offset) is "
              + "damaged: see `pagoda store verify`")
      }
    }
    if let failure { throw failure }
    var synced: Set<DiskFile> = []
    for file in items.compactMap({ $0.target?.file }) where synced.insert(file).inserted {
      do { try disk.sync(file) } catch { throw .disk(error) }
    }
  }

  /// Makes the data files of paths longer, by so many slots together.
  private func grow(_ counts: inout [Int], by missing: Int) throws(StorageError) {
    guard missing > 0 else { return }
    let staying = counts.indices.filter { counts[$0] > 0 }
    let directories = staying.compactMap { files[$0].map { parent(of: $0.path) } }
    let each = (missing + staying.count - 1) / staying.count
    let bytes = staying.map { _ in each * geometry.recordBytes }
    try requireSpace(bytes, on: directories, isNew: false)
    for (id, directory) in zip(staying, directories) {
      counts[id] += each
      _ = try DataFile(
        directory + "/" + DataFile.name,
        bytes: DataFile.byteCount(slots: counts[id], geometry: geometry), disk: disk, mode: .grow)
    }
  }

  /// Deletes what a drained path has; the manifest moves to the first path that is left.
  private func leave(_ drained: Int, _ paths: [StorePath]) throws(StorageError) {
    guard let file = files[drained] else { preconditionFailure("the path was in use") }
    let old = parent(of: file.path)
    if fromRoot(old) == fromRoot(parent(of: manifest.path)) {
      guard let heir = paths.indices.first(where: { !paths[$0].isDrained }),
        let home = files[heir].map({ parent(of: $0.path) })
      else { preconditionFailure("another path is left") }
      try Self.copyManifest(from: old, to: home)
      // The manifest goes last: as long as it is there, the same command finds its way.
      try Self.remove([DataFile.name], from: old)
      try Self.removeManifest(from: old)
    }
    try Self.remove([DataFile.name], from: old)
  }

  /// Copies a manifest, whose log is empty, to another directory. Until the first one is removed
  /// both have it; `endMove` then removes the one in the directory that it calls drained.
  static func copyManifest(from old: String, to home: String) throws(StorageError) {
    let target = home + "/" + Manifest.name
    try Manifest.requireEmptyLog(old + "/" + Manifest.name)
    try copyFile(old + "/" + Manifest.name, target + ".new")
    guard unsafe rename(target + ".new", target) == 0 else {
      throw .system(action: "rename to", path: target, code: errno)
    }
    try syncDirectory(home)
  }

  static func removeManifest(from old: String) throws(StorageError) {
    let logs = ["-wal", "-shm"].map { Manifest.name + $0 }
    try remove(logs + [ManifestDigest.name, lockName, Manifest.name], from: old)
  }

  /// Cuts data files behind their last slot.
  /// - Returns: bytes given back.
  private func cutFiles(to paths: [StorePath]) throws(StorageError) -> Int {
    var given = 0
    for (id, file) in files.enumerated() {
      guard let file else { continue }
      let bytes = DataFile.byteCount(slots: paths[id].slots, geometry: geometry)
      var status = stat()
      guard unsafe lstat(file.path, &status) == 0, unsafe truncate(file.path, bytes) == 0 else {
        throw .system(action: "cut", path: file.path, code: errno)
      }
      given += Int(status.st_size) - bytes
    }
    return given
  }
}

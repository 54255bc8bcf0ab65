import DirectIO

/// What a store lacks of what is asked of it: directories, or slots where more generations are to
/// be kept or the files were cut by `compact`.
struct StoreGrowth {
  private let store: StoreDescription
  private let directories: [String]
  /// Slots of each active path afterwards, in the order of `directories`.
  private let slots: [Int]

  init(_ store: StoreDescription, _ wanted: StoreConfiguration) {
    let present = store.activePaths.map { store.paths[$0].slots }
    let isNew = wanted.paths.indices.map { $0 >= present.count }
    let shares = wanted.share(wanted.slotsNeeded, among: wanted.bandwidths)
    // A new path gets its share; old ones keep what they have and share what is missing then.
    var slots = zip(present + shares[present.count...], isNew).map { $0.0 }
    let missing = wanted.slotsNeeded - slots.reduce(0, +)
    if missing > 0 {
      for (index, more) in wanted.share(missing, among: wanted.bandwidths).enumerated() {
        slots[index] += more
      }
    }
    self.store = store
    directories = wanted.paths
    self.slots = slots
  }

  private var presentCount: Int { store.activePaths.count }

  var isNeeded: Bool { slots != store.activePaths.map { store.paths[$0].slots } }

  /// Makes files first and then says so in the manifest: after a crash in between they are longer
  /// than needed, or blank and made again.
  func carryOut(
    _ files: inout [DataFile?], _ manifest: Manifest, _ lock: StoreLock, disk: any Disk
  ) throws(StorageError) {
    try requireSpace()
    try makeDirectories(Array(directories[presentCount...]))
    var grown = store
    for (index, directory) in directories.enumerated() {
      let bytes = DataFile.byteCount(slots: slots[index], geometry: store.geometry)
      if index < presentCount {
        let id = store.activePaths[index]
        guard grown.paths[id].slots != slots[index] else { continue }
        files[id] = try DataFile(
          directory + "/" + DataFile.name, bytes: bytes, disk: disk, mode: .grow)
        grown.paths[id].slots = slots[index]
      } else {
        try DataFile.make(directory, bytes: bytes, disk: disk)
        files.append(
          try DataFile(
            directory + "/" + DataFile.name, bytes: bytes, disk: disk, mode: .readWrite))
        grown.paths.append(
          StorePath(
            directory: fromRoot(directory), slots: slots[index], isDrained: false,
            bytesWritten: 0))
      }
    }
    try lock.whileUnread { () throws(StorageError) in try manifest.write(grown.paths) }
    for id in store.paths.count..<grown.paths.count {
      try files[id]?.sign(DataFile.signature(of: id, in: grown), on: disk)
    }
  }

  private func requireSpace() throws(StorageError) {
    let old = store.activePaths.map { store.paths[$0].slots }
    var more = zip(slots, old).map { max(0, $0 - $1) * store.geometry.recordBytes }
    more[0] += Manifest.bytesMax(slots: slots.reduce(0, +) - old.reduce(0, +))
    try Storage.requireSpace(more, on: Array(directories.prefix(old.count)), isNew: false)
    let new = slots[old.count...].map {
      DataFile.byteCount(slots: $0, geometry: store.geometry)
    }
    try Storage.requireSpace(new, on: Array(directories[old.count...]), isNew: true)
  }
}

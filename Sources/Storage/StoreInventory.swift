package import Base

/// What is in a store: as printed by `pagoda store info`.
package struct StoreInventory: Codable, Sendable {
  package struct Generation: Codable, Sendable {
    package let step: Int
    /// Seconds since 1970.
    package let committedAt: Int
    /// Records that it has and the one before, of those that are kept, has not; nil for the first.
    package let changedRecords: Int?
  }
  package struct Directory: Codable, Sendable {
    package let directory: String
    package let isDrained: Bool
    package let slots: Int
    package let records: Int
    package let fileBytes: Int
    /// Records written to it since it is part of the store, as of the last commit.
    package let writtenBytes: Int
  }
  package struct Layer: Codable, Sendable {
    /// The layer with experts, in forward order; nil for the dense part.
    package let layer: Int?
    package let records: Int
    package let bytes: Int
  }

  package let identity: String
  package let format: Int
  package let generations: [Generation]
  package let directories: [Directory]
  package let states: StatePrecision
  package let master: MasterPrecision
  /// Of second moments that are factored: how many a block has.
  package let factors: Int?
  package let recordBytes: Int
  /// Without padding.
  package let bytesPerParameter: Double
  /// Of the last generation, by plane; padding included.
  package let planeBytes: [String: Int]
  package let layers: [Layer]
  package let blocks: Int
  /// Blocks that were never written: their bytes follow from the seed.
  package let virginBlocks: Int
  package var virginShare: Double { Double(virginBlocks) / Double(blocks) }

  /// - Parameter store: with nothing open.
  package init(_ store: Store) {
    let (kept, versions) = (store.table.kept, store.table.versions)
    let geometry = store.geometry
    identity = store.description.identity
    format = Manifest.format
    generations = kept.indices.map { index in
      let generation = kept[index].generation
      return Generation(
        step: generation.step, committedAt: generation.committedAt,
        changedRecords: index == 0 ? nil : kept[index].superseded.count)
    }
    directories = store.description.paths.enumerated().map { id, path in
      Directory(
        directory: path.directory, isDrained: path.isDrained,
        slots: path.isDrained ? 0 : path.slots,
        records: versions.count { $0.record.slot.path == id },
        fileBytes: path.isDrained
          ? 0 : DataFile.byteCount(slots: path.slots, geometry: geometry),
        writtenBytes: path.bytesWritten)
    }
    let last = store.table.committed.keys
    (states, master) = (geometry.format.states, geometry.format.master)
    factors = geometry.format.factors
    recordBytes = geometry.recordBytes
    bytesPerParameter = geometry.bytesPerParameter
    planeBytes = Dictionary(
      uniqueKeysWithValues: Plane.allCases.map {
        ("\($0)", last.count * geometry.planeBytes($0))
      })
    let byLayer = Dictionary(grouping: last) { $0.kind == .dense ? -1 : $0.layer }
    layers = byLayer.keys.sorted().map { layer in
      let count = byLayer[layer]?.count ?? 0
      return Layer(
        layer: layer < 0 ? nil : layer, records: count, bytes: count * geometry.recordBytes)
    }
    blocks = store.description.blocks
    virginBlocks = blocks - last.count
  }
}

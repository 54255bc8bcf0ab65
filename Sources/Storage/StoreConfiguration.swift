import Base

/// What a store is asked to be.
package struct StoreConfiguration: Sendable {
  /// Directories, one per drive; the first holds the manifest and the lock. Opening refuses two
  /// that are the same, however they are spelled.
  package let paths: [String]
  /// Relative speeds of the paths: slots are shared out in proportion.
  package let bandwidths: [Double]
  /// Whose bytes these are: a digest of all of the config that decides them.
  package let identity: String
  package let geometry: RecordGeometry
  /// Blocks that can ever be written.
  package let blocks: Int
  /// Generations that can be gone back to, the last one included.
  package let keep: Int
  /// Whether each block is written once at most before the store is closed. A new store has no slots
  /// for more then; the next writer that opens it makes them.
  package let isWrittenOnce: Bool

  /// - Parameter bandwidths: one number per path in any unit; equal when nil.
  package init(
    paths: [String], bandwidths: [Double]? = nil, identity: String, geometry: RecordGeometry,
    blocks: Int, keep: Int = 1, isWrittenOnce: Bool = false
  ) {
    precondition(keep > 0, "the last generation is kept")
    precondition(!paths.isEmpty, "a store has a path")
    precondition(blocks > 0, "a store has blocks")
    precondition(!identity.isEmpty, "a store belongs to somebody")
    let bandwidths = bandwidths ?? paths.map { _ in 1 }
    precondition(bandwidths.count == paths.count, "a bandwidth for every path")
    precondition(bandwidths.allSatisfy { $0 > 0 && $0.isFinite }, "bandwidths are positive")
    self.paths = paths
    self.bandwidths = bandwidths
    self.identity = identity
    self.geometry = geometry
    self.blocks = blocks
    self.keep = keep
    self.isWrittenOnce = isWrittenOnce
  }

  /// The same on those of its paths alone.
  func only(_ paths: [String]) -> StoreConfiguration {
    let kept = self.paths.indices.filter { paths.contains(self.paths[$0]) }
    return StoreConfiguration(
      paths: kept.map { self.paths[$0] }, bandwidths: kept.map { bandwidths[$0] },
      identity: identity, geometry: geometry, blocks: blocks, keep: keep,
      isWrittenOnce: isWrittenOnce)
  }

  /// Slots beyond those of all generations, so that rounding shares never takes the last one.
  private static let spareSlots = 2

  /// In the worst case every block has a record in every generation that is kept and another in the
  /// open one. What closes needs no more: until it is durable, writes beyond these wait for it.
  var slotsNeeded: Int { (isWrittenOnce ? 1 : keep + 1) * blocks + Self.spareSlots }

  /// Slots of each path of a new store.
  package var slotsPerPath: [Int] { share(slotsNeeded, among: bandwidths) }

  /// `slots` in proportion to `bandwidths`, each part rounded up.
  func share(_ slots: Int, among bandwidths: [Double]) -> [Int] {
    let sum = bandwidths.reduce(0, +)
    return bandwidths.map { Int((Double(slots) * $0 / sum).rounded(.up)) }
  }

  /// Bytes that a new store takes on each path in time: the data file, and on the first path the
  /// manifest, which is not preallocated.
  package var bytesNeededPerPath: [Int] {
    var bytes = bytesPerPath
    bytes[0] += Manifest.bytesMax(slots: slotsNeeded)
    return bytes
  }

  /// Bytes of the data file of each path of a new store.
  package var bytesPerPath: [Int] {
    slotsPerPath.map { DataFile.byteCount(slots: $0, geometry: geometry) }
  }
}

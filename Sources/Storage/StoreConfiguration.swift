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

  /// - Parameter bandwidths: one number per path in any unit; equal when nil.
  package init(
    paths: [String], bandwidths: [Double]? = nil, identity: String, geometry: RecordGeometry,
    blocks: Int
  ) {
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
  }

  /// Slots beyond two per block, so that rounding shares never takes the last one.
  private static let spareSlots = 2

  /// Slots of each path. In the worst case every block has a committed record and an open one.
  package var slotsPerPath: [Int] {
    let wanted = Double(2 * blocks + Self.spareSlots)
    let sum = bandwidths.reduce(0, +)
    return bandwidths.map { Int((wanted * $0 / sum).rounded(.up)) }
  }

  /// Bytes of the data file of each path.
  package var bytesPerPath: [Int] {
    slotsPerPath.map { DataFile.byteCount(slots: $0, geometry: geometry) }
  }
}

package import Base
import PinnedMemory
package import Storage

/// One use of a block to come, with the planes its holder needs: `.hi` in a forward sweep, `.all`
/// where the block is updated.
package struct Visit: Hashable, Sendable {
  package let block: BlockID
  package let planes: PlaneSet
  /// The holder compares checksums itself, when it passes over the bytes (`Page.sums`, `Pager.check`).
  package let isCheckedByHolder: Bool

  package init(_ block: BlockID, _ planes: PlaneSet, isCheckedByHolder: Bool = false) {
    precondition(!planes.isEmpty, "a visit needs planes")
    (self.block, self.planes, self.isCheckedByHolder) = (block, planes, isCheckedByHolder)
  }

  /// The same visit where only some planes have bytes.
  func of(_ geometry: RecordGeometry) -> Visit {
    Visit(
      block, planes.intersection(geometry.planes), isCheckedByHolder: isCheckedByHolder)
  }

  /// Whether the holder may change planes that exist already: only optimizer updates do, and they
  /// need the moments.
  var isUpdate: Bool { !planes.isDisjoint(with: [.m, .v]) }
}

/// How many frames a pager has.
package struct FrameBudget: Hashable, Sendable {
  /// Frames for `hi`, `RecordGeometry.weightFrameBytes` each.
  package let weights: Int
  /// Frames for `lo`, `m` and `v`, `RecordGeometry.stateFrameBytes` each.
  package let state: Int

  package init(weights: Int, state: Int) { (self.weights, self.state) = (weights, state) }

  /// One frame is computed on while the other is read or written. With three of each, reading,
  /// computing and writing overlap.
  package static let minimum = FrameBudget(weights: 2, state: 2)

  package func byteCount(_ geometry: RecordGeometry) -> Int {
    weights * geometry.weightFrameBytes + state * geometry.stateFrameBytes
  }

  func requireMinimum(_ geometry: RecordGeometry) throws(MemoryError) {
    guard weights >= Self.minimum.weights else {
      throw .tooFewFrames(
        pool: "weight frames", frames: weights, minimum: Self.minimum.weights,
        frameBytes: geometry.weightFrameBytes)
    }
    guard state >= Self.minimum.state else {
      throw .tooFewFrames(
        pool: "state frames", frames: state, minimum: Self.minimum.state,
        frameBytes: geometry.stateFrameBytes)
    }
  }
}

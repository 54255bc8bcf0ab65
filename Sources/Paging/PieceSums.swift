import Base
import PinnedMemory
import Storage
import Synchronization

/// Checksums of the pieces of a block's planes in memory (`PlanePieces`), taken by several threads.
package final class PieceSums: Sendable {
  private let memory: PlaneValues<PinnedSlice?>
  private let format: RecordFormat
  /// Where the pieces of each plane begin in `sums`, which has those of all planes in a row.
  private let places: PlaneValues<Range<Int>>
  private let sums: Mutex<[UInt64?]>

  let planes: PlaneSet

  init(of resident: Resident, _ planes: PlaneSet) {
    self.planes = planes
    var places = PlaneValues(hi: 0..<0, lo: 0..<0, m: 0..<0, v: 0..<0)
    var memory = PlaneValues<PinnedSlice?>(hi: nil, lo: nil, m: nil, v: nil)
    var count = 0
    for plane in planes.planes {
      let slice = resident.memory(of: plane)
      memory[plane] = slice
      places[plane] = count..<count + PlanePieces.count(slice)
      count = places[plane].upperBound
    }
    (self.memory, self.places) = (memory, places)
    format = resident.geometry.format
    sums = Mutex([UInt64?](repeating: nil, count: count))
  }

  /// Takes the pieces that hold nothing but parameters of `range`, on the thread that has them in its
  /// cache: before it changes them, for sums of what was read, after it for sums of what is written.
  /// Those that two ranges share, where both are no multiples of 8192, are left for the end.
  /// - Parameter isLast: `range` ends with the block's last parameter.
  package func take(_ range: Range<Int>, isLast: Bool) {
    var pieces: [Int] = []
    for plane in planes.subtracting(Self.scattered(format)).planes {
      let bytes = bytesPerParameter(plane)
      let size = PlanePieces.byteCount
      let first = (range.lowerBound * bytes + size - 1) / size
      let end = isLast ? places[plane].count : range.upperBound * bytes / size
      guard first < end else { continue }
      pieces += places[plane].lowerBound + first..<places[plane].lowerBound + end
    }
    take(pieces)
  }

  /// Planes in which a parameter's bytes are not in one place: `take` leaves them alone.
  static func scattered(_ format: RecordFormat) -> PlaneSet {
    if format.factors != nil { return .v }
    return format.states == .int8 ? [.m, .v] : []
  }

  private func bytesPerParameter(_ plane: Plane) -> Int {
    switch plane {
    case .hi, .lo: 2
    case .m, .v: format.states.byteCount(1)
    }
  }

  /// Takes those pieces, numbered as in `sums`.
  private func take(_ pieces: [Int]) {
    let taken = pieces.map { sum(ofPiece: $0) }
    sums.withLock { sums in
      for (piece, sum) in zip(pieces, taken) { sums[piece] = sum }
    }
  }

  private func sum(ofPiece index: Int) -> UInt64? {
    for plane in planes.planes where places[plane].contains(index) {
      return memory[plane].map {
        PlanePieces.checksum(of: index - places[plane].lowerBound, in: $0)
      }
    }
    return nil
  }
}

// MARK: The rest

extension PieceSums {
  private static let piecesPerTask = 16

  /// Whether all pieces are taken.
  var isComplete: Bool { sums.withLock { sums in sums.allSatisfy { $0 != nil } } }

  /// Takes what nobody has taken, in tasks that `forEach` runs side by side.
  /// - Returns: the planes' checksums; 0 where there is no plane.
  func finish(
    _ forEach: (_ count: Int, _ body: @Sendable (_ index: Int) -> Void) -> Void
  ) -> PlaneValues<UInt64> {
    let known = sums.withLock { $0 }
    let missing = known.indices.filter { known[$0] == nil }
    let size = Self.piecesPerTask
    forEach((missing.count + size - 1) / size) { task in
      take(Array(missing[task * size..<min((task + 1) * size, missing.count)]))
    }
    let sums = sums.withLock { $0.map { $0 ?? 0 } }
    return PlaneValues(hi: Plane.hi, lo: .lo, m: .m, v: .v).map {
      memory[$0] == nil ? 0 : checksum(of: Array(sums[places[$0]]))
    }
  }
}

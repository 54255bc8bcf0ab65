import Base

/// Where the planes of a block lie in its record, the same for every block of a store.
///
///     record   | hi .. pad | lo .. pad | m .. pad | v .. pad |
///     frames   |  weights  |             state               |
///
/// Every plane starts at a multiple of 4096, so that each can be read alone with direct I/O.
package struct RecordGeometry: Hashable, Sendable {
  package static let alignment = 4096

  /// Parameters of one block; smaller blocks leave the rest of their planes zero.
  package let parameters: Int
  /// Bytes of each plane before padding. Stored, because the precision of the moments decides them.
  package let contentBytes: PlaneValues<Int>

  /// fp32 weights in two halves and fp32 moments: 2 + 2 + 4 + 4 bytes a parameter.
  package init(parametersPerBlock parameters: Int) {
    self.init(
      parameters: parameters,
      contentBytes: PlaneValues(
        hi: 2 * parameters, lo: 2 * parameters, m: 4 * parameters, v: 4 * parameters))
  }

  init(parameters: Int, contentBytes: PlaneValues<Int>) {
    precondition(parameters > 0, "a block has parameters")
    for plane in Plane.allCases {
      precondition(contentBytes[plane] > 0, "every plane has bytes")
    }
    self.parameters = parameters
    self.contentBytes = contentBytes
  }

  /// Beyond what any machine has, and small enough that sums and products of a few such numbers
  /// are numbers.
  static let largest = 1 << 40

  /// A geometry as a file gives it; nil when it cannot be one.
  init?(stored parameters: Int, contentBytes: PlaneValues<Int>) {
    let numbers = [parameters] + Plane.allCases.map { contentBytes[$0] }
    guard numbers.allSatisfy({ 1...Self.largest ~= $0 }) else { return nil }
    self.init(parameters: parameters, contentBytes: contentBytes)
  }

  /// Bytes of a plane on disk and in a frame.
  package func planeBytes(_ plane: Plane) -> Int {
    roundUp(contentBytes[plane], to: Self.alignment)
  }

  /// Where a plane starts in the record.
  package func offset(of plane: Plane) -> Int {
    switch plane {
    case .hi: 0
    case .lo: planeBytes(.hi)
    case .m: planeBytes(.hi) + planeBytes(.lo)
    case .v: planeBytes(.hi) + planeBytes(.lo) + planeBytes(.m)
    }
  }

  /// A frame for `hi` alone.
  package var weightFrameBytes: Int { planeBytes(.hi) }
  /// A frame for `lo`, `m` and `v`.
  package var stateFrameBytes: Int { recordBytes - weightFrameBytes }
  package var recordBytes: Int { offset(of: .v) + planeBytes(.v) }
}

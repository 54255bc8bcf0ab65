package import Base

/// How the planes of a record are kept.
package struct RecordFormat: Hashable, Sendable, CaseIterable {
  package let states: StatePrecision
  package let master: MasterPrecision
  /// Where second moments are factored, as Adafactor has them: how many fp32 numbers there are in `v`. There
  /// is no `m` then.
  package let factors: Int?

  package init(
    states: StatePrecision = .fp32, master: MasterPrecision = .fp32, factors: Int? = nil
  ) {
    precondition(factors == nil || states == .fp32, "factors are fp32")
    (self.states, self.master, self.factors) = (states, master, factors)
  }

  /// Those of two moments a parameter.
  package static let allCases = StatePrecision.allCases.flatMap { states in
    MasterPrecision.allCases.map { RecordFormat(states: states, master: $0) }
  }

  /// Bytes of each plane for so many parameters, before padding; 0 of one that is not kept.
  func contentBytes(_ parameters: Int) -> PlaneValues<Int> {
    let half = 2 * parameters
    let m = factors == nil ? states.byteCount(parameters) : 0
    let v = states.byteCount(factors ?? parameters)
    return PlaneValues(hi: half, lo: master == .fp32 ? half : 0, m: m, v: v)
  }

  /// That of planes without `m`; nil where their sizes are those of no factors.
  fileprivate init?(_ parameters: Int, factored contentBytes: PlaneValues<Int>) {
    let factors = contentBytes.v / StatePrecision.fp32.byteCount(1)
    // A row and a column for each parameter at the most.
    guard 1...2 * parameters ~= factors else { return nil }
    self.init(master: contentBytes.lo == 0 ? .bf16 : .fp32, factors: factors)
    guard self.contentBytes(parameters) == contentBytes else { return nil }
  }
}

/// Where the planes of a block lie in its record, the same for every block of a store.
///
///     record   | hi .. pad | lo .. pad | m .. pad | v .. pad |
///     frames   |  weights  |             state               |
///
/// Every plane starts at a multiple of 4096, so that each can be read alone with direct I/O. Where
/// the master is bfloat16 there is no `lo`, and where second moments are factored no `m`: they have no
/// bytes.
package struct RecordGeometry: Hashable, Sendable {
  package static let alignment = 4096

  /// Parameters of one block; smaller blocks leave the rest of their planes zero.
  package let parameters: Int
  package let format: RecordFormat
  /// Bytes of each plane before padding. Stored, because the format decides them.
  package let contentBytes: PlaneValues<Int>

  package init(parametersPerBlock parameters: Int, _ format: RecordFormat = RecordFormat()) {
    precondition(parameters > 0, "a block has parameters")
    self.parameters = parameters
    self.format = format
    contentBytes = format.contentBytes(parameters)
  }

  /// Beyond what any machine has, and small enough that sums and products of a few such numbers
  /// are numbers.
  static let largest = 1 << 40

  /// A geometry as a file gives it; nil when it is that of no format. Of blocks so small that two
  /// formats have the same bytes it is the wider one.
  package init?(stored parameters: Int, contentBytes: PlaneValues<Int>) {
    guard 1...Self.largest ~= parameters else { return nil }
    let format =
      RecordFormat.allCases.first { $0.contentBytes(parameters) == contentBytes }
      ?? RecordFormat(parameters, factored: contentBytes)
    guard let format else { return nil }
    self.init(parametersPerBlock: parameters, format)
  }

  /// The planes that have bytes.
  package var planes: PlaneSet {
    var planes = PlaneSet.all
    if contentBytes.lo == 0 { planes.subtract(.lo) }
    if contentBytes.m == 0 { planes.subtract(.m) }
    return planes
  }

  /// Bytes of a plane on disk and in a frame.
  package func planeBytes(_ plane: Plane) -> Int {
    roundUp(contentBytes[plane], to: Self.alignment)
  }

  /// Bytes of all planes for a parameter, without padding.
  package var bytesPerParameter: Double {
    Double(Plane.allCases.reduce(0) { $0 + contentBytes[$1] }) / Double(parameters)
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
  /// A frame for `lo`, `m` and `v`, as far as they have bytes.
  package var stateFrameBytes: Int { recordBytes - weightFrameBytes }
  package var recordBytes: Int { offset(of: .v) + planeBytes(.v) }
}

/// One kind of bytes of a block, in the order of a record.
package enum Plane: UInt8, CaseIterable, Sendable {
  /// Upper halves of the fp32 weights: the nearest bfloat16.
  case hi
  /// What is missing to the fp32 weights, as signed 16-bit numbers.
  case lo
  /// First moments.
  case m
  /// Second moments.
  case v
}

/// Some of the planes of one block.
package struct PlaneSet: OptionSet, Hashable, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  package init(_ plane: Plane) { rawValue = 1 << plane.rawValue }

  package static let hi = PlaneSet(.hi)
  package static let lo = PlaneSet(.lo)
  package static let m = PlaneSet(.m)
  package static let v = PlaneSet(.v)
  /// What the optimizer needs beside `hi`; contiguous in a record.
  package static let state: PlaneSet = [.lo, .m, .v]
  package static let all: PlaneSet = [.hi, .lo, .m, .v]

  package func contains(_ plane: Plane) -> Bool { contains(PlaneSet(plane)) }

  /// The planes, in the order of a record.
  package var planes: [Plane] { Plane.allCases.filter { contains($0) } }
}

/// One value for each plane.
package struct PlaneValues<Value: Sendable>: Sendable {
  package var hi: Value
  package var lo: Value
  package var m: Value
  package var v: Value

  package init(hi: Value, lo: Value, m: Value, v: Value) {
    (self.hi, self.lo, self.m, self.v) = (hi, lo, m, v)
  }

  package subscript(plane: Plane) -> Value {
    get {
      switch plane {
      case .hi: hi
      case .lo: lo
      case .m: m
      case .v: v
      }
    }
    set {
      switch plane {
      case .hi: hi = newValue
      case .lo: lo = newValue
      case .m: m = newValue
      case .v: v = newValue
      }
    }
  }
}

extension PlaneValues {
  /// The same four places with other values.
  package func map<Other: Sendable>(_ transform: (Value) -> Other) -> PlaneValues<Other> {
    PlaneValues<Other>(hi: transform(hi), lo: transform(lo), m: transform(m), v: transform(v))
  }
}

extension PlaneValues: Equatable where Value: Equatable {}
extension PlaneValues: Hashable where Value: Hashable {}

package import Base
package import Kernels

/// Which moment: they are coded differently.
package enum Moment: Sendable {
  case first, second
}

/// One moment of every parameter of a block, as a plane of bytes holds it:
///
///     fp32    a float each
///     bf16    the upper half of a float each
///     int8    a code each (`MomentCode`), zeros up to a multiple of 4, a float for each 256 codes
///
/// Zero bytes are zeros in each of them. Groups are 256 parameters, the last one perhaps fewer.
struct MomentPlane: Sendable {
  let moment: Moment
  let states: StatePrecision
  let bytes: Fence<UInt8>
  /// Parameters of the block.
  let count: Int

  /// The moments of `group` as floats.
  func load(_ group: Range<Int>, into values: inout MutableSpan<Float>) {
    precondition(group.count <= values.count, "room for the group")
    switch states {
    case .fp32:
      let floats = bytes.mutable(Float.self, at: 4 * group.lowerBound, count: group.count)
      for i in floats.indices { values[i] = floats[i] }
    case .bf16:
      let halves = bytes.mutable(UInt16.self, at: 2 * group.lowerBound, count: group.count)
      for i in halves.indices { values[i] = widen(halves[i]) }
    case .int8:
      let (codes, scale) = (bytes.span(group), scale(of: group)[0])
      switch moment {
      case .first:
        for i in codes.indices { values[i] = MomentCode.first(codes[i], scale: scale) }
      case .second:
        for i in codes.indices { values[i] = MomentCode.second(codes[i], scale: scale) }
      }
    }
  }

  /// Overwrites the moments of `group` with the first of `values`, rounded by `noise`, one number for
  /// each.
  func store(_ values: Span<Float>, _ noise: Span<UInt16>, _ group: Range<Int>) {
    precondition(group.count <= values.count, "one value each")
    precondition(group.count <= noise.count, "one number each")
    switch states {
    case .fp32:
      var floats = bytes.mutable(Float.self, at: 4 * group.lowerBound, count: group.count)
      for i in floats.indices { floats[i] = values[i] }
    case .bf16:
      var halves = bytes.mutable(UInt16.self, at: 2 * group.lowerBound, count: group.count)
      for i in halves.indices { halves[i] = roundedStochastically(values[i], noise[i]) }
    case .int8:
      storeCodes(values, noise, group)
    }
  }

  private func storeCodes(_ values: Span<Float>, _ noise: Span<UInt16>, _ group: Range<Int>) {
    var codes = bytes.mutable(group)
    var scales = scale(of: group)
    let scale = MomentCode.scale(values.extracting(0..<group.count))
    // Moments so small move no weight, and their scale has no finite inverse.
    guard scale >= .leastNormalMagnitude else {
      scales[0] = 0
      return codes.update(repeating: 0)
    }
    scales[0] = scale
    let inverse = (1 / scale).nextUp
    switch moment {
    case .first:
      for i in codes.indices {
        codes[i] = MomentCode.encodedFirst(values[i], inverse: inverse, noise[i])
      }
    case .second:
      for i in codes.indices {
        codes[i] = MomentCode.encodedSecond(values[i], inverse: inverse, noise[i])
      }
    }
  }

  @_lifetime(immortal)
  private func scale(of group: Range<Int>) -> MutableSpan<Float> {
    let number = group.lowerBound / StatePrecision.valuesPerScale
    return bytes.mutable(
      Float.self, at: StatePrecision.scaleOffset(count) + 4 * number, count: 1)
  }
}

// MARK: Whole planes

extension StatePrecision {
  /// Overwrites `values`, a matrix of one row, with the moments of a plane.
  package func decode(_ moment: Moment, _ plane: Span<UInt8>, into values: Matrix) {
    precondition(values.rows == 1 && plane.count == byteCount(values.columns), "one value each")
    let plane = MomentPlane(
      moment: moment, states: self, bytes: Fence(plane), count: values.columns)
    var floats = InlineArray<256, Float>(repeating: 0)
    for group in Self.groups(values.columns) {
      var floats = floats.mutableSpan
      plane.load(group, into: &floats)
      let row = values.columns(group).row(0)
      for i in 0..<row.count { row[i] = floats[i] }
    }
  }

  /// Overwrites a plane with `values`, a matrix of one row, each rounded to the nearest: what was
  /// decoded gives the same bytes again.
  package func encode(_ moment: Moment, _ values: Matrix, into plane: inout MutableSpan<UInt8>) {
    precondition(values.rows == 1 && plane.count == byteCount(values.columns), "one value each")
    plane.update(repeating: 0)
    let plane = MomentPlane(
      moment: moment, states: self, bytes: Fence(&plane), count: values.columns)
    var floats = InlineArray<256, Float>(repeating: 0)
    let noise = InlineArray<256, UInt16>(repeating: RoundingNoise.half)
    for group in Self.groups(values.columns) {
      let row = values.columns(group).row(0)
      for i in 0..<row.count { floats[i] = row[i] }
      plane.store(floats.span, noise.span, group)
    }
  }

  private static func groups(_ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: valuesPerScale).map { $0..<min($0 + valuesPerScale, count) }
  }
}

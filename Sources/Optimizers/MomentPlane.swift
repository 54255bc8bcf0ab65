package import Base
package import Kernels

/// One moment of every parameter of a block, as a plane of bytes holds it:
///
///     fp32    a float each
///     bf16    the upper half of a float each
///     int8    a code each (`Moment`), zeros up to a multiple of 4, a float for each 256 codes
///
/// Zero bytes are zeros in each of them. Groups are 256 parameters, the last one perhaps fewer.
struct MomentPlane: Sendable {
  let moment: Moment
  let states: StatePrecision
  let bytes: Fence<UInt8>
  /// Parameters of the block.
  let count: Int

  /// Advances the moments of `group` by a step and leaves what the weights want of them, m or
  /// sqrt(v), in the first of `used`.
  /// - Parameter noise: a number for each to round it by.
  func advance(
    _ group: Range<Int>, _ step: AdamWStep, _ gradient: Span<Float>, _ noise: Span<UInt16>,
    into used: inout MutableSpan<Float>
  ) {
    precondition(gradient.count == group.count, "one gradient each")
    switch states {
    case .fp32:
      var floats = floats(of: group)
      moment.advance(floats: &floats, step, gradient, into: &used)
    case .bf16:
      var halves = halves(of: group)
      moment.advance(halves: &halves, step, gradient, noise, into: &used)
    case .int8:
      var codes = bytes.mutable(group)
      var scale = scale(of: group)
      moment.advance(codes: &codes, scale: &scale[0], step, gradient, noise, into: &used)
    }
  }

  /// The moments of `group` as floats.
  fileprivate func load(_ group: Range<Int>, into values: inout MutableSpan<Float>) {
    precondition(group.count <= values.count, "room for the group")
    switch states {
    case .fp32:
      let floats = floats(of: group)
      for i in floats.indices { values[i] = floats[i] }
    case .bf16:
      let halves = halves(of: group)
      for i in halves.indices { values[i] = widen(halves[i]) }
    case .int8:
      moment.decode(bytes.span(group), scale: scale(of: group)[0], into: &values)
    }
  }

  /// Overwrites the moments of `group` with the first of `values`, each rounded to the nearest.
  fileprivate func store(_ values: Span<Float>, _ group: Range<Int>) {
    precondition(group.count <= values.count, "one value each")
    switch states {
    case .fp32:
      var floats = floats(of: group)
      for i in floats.indices { floats[i] = values[i] }
    case .bf16:
      var halves = halves(of: group)
      for i in halves.indices { halves[i] = roundedStochastically(values[i], RoundingNoise.half) }
    case .int8:
      var codes = bytes.mutable(group)
      var scale = scale(of: group)
      moment.encode(values, into: &codes, scale: &scale[0])
    }
  }

  /// The moments of any range of parameters where they are floats.
  @_lifetime(immortal)
  func floats(of group: Range<Int>) -> MutableSpan<Float> {
    bytes.mutable(Float.self, at: 4 * group.lowerBound, count: group.count)
  }

  @_lifetime(immortal)
  private func halves(of group: Range<Int>) -> MutableSpan<UInt16> {
    bytes.mutable(UInt16.self, at: 2 * group.lowerBound, count: group.count)
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
    for group in Self.groups(values.columns) {
      let row = values.columns(group).row(0)
      for i in 0..<row.count { floats[i] = row[i] }
      plane.store(floats.span, group)
    }
  }

  private static func groups(_ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: valuesPerScale).map { $0..<min($0 + valuesPerScale, count) }
  }
}

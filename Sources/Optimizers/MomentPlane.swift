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
///     int8    a code each (`MomentRule`), zeros up to a multiple of 4, a float for each 256 codes
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
    switch moment {
    case .first: advance(FirstMoment.self, group, step, gradient, noise, into: &used)
    case .second: advance(SecondMoment.self, group, step, gradient, noise, into: &used)
    }
  }

  private func advance<Rule: MomentRule>(
    _ rule: Rule.Type, _ group: Range<Int>, _ step: AdamWStep, _ gradient: Span<Float>,
    _ noise: Span<UInt16>, into used: inout MutableSpan<Float>
  ) {
    precondition(gradient.count == group.count, "one gradient each")
    precondition(group.count <= used.count && group.count <= noise.count, "room for the group")
    switch states {
    case .fp32:
      var floats = floats(of: group)
      for i in floats.indices {
        floats[i] = Rule.advanced(floats[i], gradient[i], step)
        used[i] = Rule.used(floats[i])
      }
    case .bf16:
      var halves = halves(of: group)
      for i in halves.indices {
        let value = Rule.advanced(widen(halves[i]), gradient[i], step)
        halves[i] = roundedStochastically(value, Rule.noise(noise[i]))
        used[i] = Rule.used(value)
      }
    case .int8:
      let (codes, scale) = (bytes.span(group), scale(of: group)[0])
      var largest: UInt32 = 0
      for i in codes.indices {
        let value = Rule.advanced(Rule.decoded(codes[i], scale: scale), gradient[i], step)
        largest = max(largest, Rule.magnitude(value))
        used[i] = Rule.used(value)
      }
      storeCodes(rule, used.span, largest: Float(bitPattern: largest), noise, group)
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
      let (codes, scale) = (bytes.span(group), scale(of: group)[0])
      switch moment {
      case .first:
        for i in codes.indices { values[i] = FirstMoment.decoded(codes[i], scale: scale) }
      case .second:
        for i in codes.indices { values[i] = SecondMoment.decoded(codes[i], scale: scale) }
      }
    }
  }

  /// Overwrites the moments of `group` with the first of `values`, each rounded to the nearest.
  fileprivate func store<Rule: MomentRule>(
    _ rule: Rule.Type, _ values: inout MutableSpan<Float>, _ group: Range<Int>
  ) {
    precondition(group.count <= values.count, "one value each")
    switch states {
    case .fp32:
      var floats = floats(of: group)
      for i in floats.indices { floats[i] = values[i] }
    case .bf16:
      var halves = halves(of: group)
      for i in halves.indices { halves[i] = roundedStochastically(values[i], RoundingNoise.half) }
    case .int8:
      let noise = InlineArray<256, UInt16>(repeating: Rule.noise(RoundingNoise.half))
      var largest: UInt32 = 0
      for i in 0..<group.count {
        largest = max(largest, Rule.magnitude(values[i]))
        values[i] = Rule.used(values[i])
      }
      storeCodes(rule, values.span, largest: Float(bitPattern: largest), noise.span, group)
    }
  }

  /// - Parameters:
  ///   - used: what `rule` uses of the moments, in its first elements.
  ///   - largest: of the magnitudes of the moments.
  private func storeCodes<Rule: MomentRule>(
    _ rule: Rule.Type, _ used: Span<Float>, largest: Float, _ noise: Span<UInt16>,
    _ group: Range<Int>
  ) {
    precondition(group.count <= used.count && group.count <= noise.count, "one value each")
    var codes = bytes.mutable(group)
    var scales = scale(of: group)
    let scale = min(largest, .greatestFiniteMagnitude)
    guard scale >= Rule.leastScale else {
      scales[0] = 0
      return codes.update(repeating: 0)
    }
    scales[0] = scale
    let factor = Rule.factor(scale: scale)
    for i in codes.indices {
      codes[i] = Rule.encoded(used[i], factor: factor, Rule.noise(noise[i]))
    }
  }

  @_lifetime(immortal)
  private func floats(of group: Range<Int>) -> MutableSpan<Float> {
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
      var floats = floats.mutableSpan
      switch moment {
      case .first: plane.store(FirstMoment.self, &floats, group)
      case .second: plane.store(SecondMoment.self, &floats, group)
      }
    }
  }

  private static func groups(_ count: Int) -> [Range<Int>] {
    stride(from: 0, to: count, by: valuesPerScale).map { $0..<min($0 + valuesPerScale, count) }
  }
}

/// One moment of a group of parameters, at most 256, in every form it can be kept in.
///
/// To advance it is a step of AdamW, which leaves what the weights want of it, m or sqrt(v), in the
/// first of `used`; `noise` has a random number to round each by.
extension Moment {
  /// Moments kept as they are. Memory is the bound, whatever the vectors.
  package func advance(
    floats: inout MutableSpan<Float>, _ step: AdamWStep, _ gradient: Span<Float>,
    into used: inout MutableSpan<Float>
  ) {
    switch self {
    case .first: advanceFloats(FirstMoment.self, &floats, step, gradient, &used)
    case .second: advanceFloats(SecondMoment.self, &floats, step, gradient, &used)
    }
  }

  /// Moments kept as bfloat16. Memory is the bound, too.
  package func advance(
    halves: inout MutableSpan<UInt16>, _ step: AdamWStep, _ gradient: Span<Float>,
    _ noise: Span<UInt16>, into used: inout MutableSpan<Float>
  ) {
    switch self {
    case .first: advanceHalves(FirstMoment.self, &halves, step, gradient, noise, &used)
    case .second: advanceHalves(SecondMoment.self, &halves, step, gradient, noise, &used)
    }
  }

  /// Moments kept as codes under one scale, in the widest vectors there are.
  package func advance(
    codes: inout MutableSpan<UInt8>, scale: inout Float, _ step: AdamWStep,
    _ gradient: Span<Float>, _ noise: Span<UInt16>, into used: inout MutableSpan<Float>
  ) {
    guard let wide = WideLoops.chosen else {
      return loopAdvance(codes: &codes, scale: &scale, step, gradient, noise, into: &used)
    }
    wide.advance(self, codes: &codes, scale: &scale, step, gradient, noise, into: &used)
  }
}

private func advanceFloats<Rule: MomentRule>(
  _ rule: Rule.Type, _ floats: inout MutableSpan<Float>, _ step: AdamWStep, _ gradient: Span<Float>,
  _ used: inout MutableSpan<Float>
) {
  precondition(gradient.count == floats.count, "one gradient each")
  precondition(floats.count <= used.count, "room for the group")
  for i in floats.indices {
    floats[i] = Rule.advanced(floats[i], gradient[i], step)
    used[i] = Rule.used(floats[i])
  }
}

private func advanceHalves<Rule: MomentRule>(
  _ rule: Rule.Type, _ halves: inout MutableSpan<UInt16>, _ step: AdamWStep,
  _ gradient: Span<Float>, _ noise: Span<UInt16>, _ used: inout MutableSpan<Float>
) {
  precondition(gradient.count == halves.count, "one gradient each")
  precondition(halves.count <= noise.count, "one number each")
  precondition(halves.count <= used.count, "room for the group")
  for i in halves.indices {
    let value = Rule.advanced(widen(halves[i]), gradient[i], step)
    halves[i] = roundedStochastically(value, Rule.noise(noise[i]))
    used[i] = Rule.used(value)
  }
}

// MARK: Without a step

extension Moment {
  /// What codes under a scale mean, into the first of `values`.
  package func decode(
    _ codes: Span<UInt8>, scale: Float, into values: inout MutableSpan<Float>
  ) {
    precondition(codes.count <= values.count, "room for the group")
    switch self {
    case .first: for i in codes.indices { values[i] = FirstMoment.decoded(codes[i], scale: scale) }
    case .second:
      for i in codes.indices { values[i] = SecondMoment.decoded(codes[i], scale: scale) }
    }
  }

  /// Overwrites codes and their scale with the first of `values`, each rounded to the nearest.
  package func encode(
    _ values: Span<Float>, into codes: inout MutableSpan<UInt8>, scale: inout Float
  ) {
    switch self {
    case .first: toNearest(FirstMoment.self, values, &codes, &scale)
    case .second: toNearest(SecondMoment.self, values, &codes, &scale)
    }
  }
}

private func toNearest<Rule: MomentRule>(
  _ rule: Rule.Type, _ values: Span<Float>, _ codes: inout MutableSpan<UInt8>,
  _ scale: inout Float
) {
  let count = RoundingNoise.groupCount
  precondition(codes.count <= values.count && codes.count <= count, "a value each")
  var used = InlineArray<256, Float>(repeating: 0)
  let noise = InlineArray<256, UInt16>(repeating: Rule.noise(RoundingNoise.half))
  var largest: UInt32 = 0
  for i in codes.indices {
    largest = max(largest, Rule.magnitude(values[i]))
    used[i] = Rule.used(values[i])
  }
  encode(rule, used.span, largest: Float(bitPattern: largest), noise.span, &codes, &scale)
}

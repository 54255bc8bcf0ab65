/// A step of AdamW on a group of moments, by the vectors of whichever module this is compiled in.
extension Moment {
  /// Moments kept as codes under one scale. Leaves what the weights want of them, m or sqrt(v), in the
  /// first of `used`.
  /// - Parameter noise: a random number to round each by.
  package func loopAdvance(
    codes: inout MutableSpan<UInt8>, scale: inout Float, _ step: AdamWStep,
    _ gradient: Span<Float>, _ noise: Span<UInt16>, into used: inout MutableSpan<Float>
  ) {
    switch self {
    case .first: advanceCodes(FirstMoment.self, &codes, &scale, step, gradient, noise, &used)
    case .second: advanceCodes(SecondMoment.self, &codes, &scale, step, gradient, noise, &used)
    }
  }
}

private func advanceCodes<Rule: MomentRule>(
  _ rule: Rule.Type, _ codes: inout MutableSpan<UInt8>, _ scale: inout Float, _ step: AdamWStep,
  _ gradient: Span<Float>, _ noise: Span<UInt16>, _ used: inout MutableSpan<Float>
) {
  precondition(!codes.isEmpty, "a scale has codes")
  precondition(gradient.count == codes.count, "one gradient each")
  precondition(codes.count <= used.count, "room for the group")
  let before = scale
  var largest: UInt32 = 0
  for i in codes.indices {
    let value = Rule.advanced(Rule.decoded(codes[i], scale: before), gradient[i], step)
    largest = max(largest, Rule.magnitude(value))
    used[i] = Rule.used(value)
  }
  encode(rule, used.span, largest: Float(bitPattern: largest), noise, &codes, &scale)
}

/// - Parameters:
///   - used: what `rule` uses of the moments, in its first elements.
///   - largest: of the magnitudes of the moments.
func encode<Rule: MomentRule>(
  _ rule: Rule.Type, _ used: Span<Float>, largest: Float, _ noise: Span<UInt16>,
  _ codes: inout MutableSpan<UInt8>, _ scale: inout Float
) {
  precondition(codes.count <= used.count && codes.count <= noise.count, "one value each")
  let finite = min(largest, .greatestFiniteMagnitude)
  guard finite >= Rule.leastScale else {
    scale = 0
    return codes.update(repeating: 0)
  }
  scale = finite
  let factor = Rule.factor(scale: finite)
  for i in codes.indices {
    codes[i] = Rule.encoded(used[i], factor: factor, Rule.noise(noise[i]))
  }
}

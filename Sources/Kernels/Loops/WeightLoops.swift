/// The last part of a step on a group of parameters: weights move by what `Moment` left of theirs.
/// As many elements in all spans.
extension AdamWStep {
  /// Weights in two halves (see `splitMaster`).
  package func loopMove(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, _ m: Span<Float>,
    _ root: Span<Float>
  ) {
    precondition(lo.count == hi.count, "one lo half per hi half")
    precondition(m.count == hi.count && root.count == hi.count, "two moments per weight")
    for i in hi.indices {
      (hi[i], lo[i]) = splitMaster(moved(joinMaster(hi: hi[i], lo: lo[i]), m: m[i], root: root[i]))
    }
  }

  /// Weights of which there is the upper half alone, rounded by a random number each.
  package func loopMove(
    hi: inout MutableSpan<UInt16>, _ m: Span<Float>, _ root: Span<Float>, _ noise: Span<UInt16>
  ) {
    precondition(m.count == hi.count && root.count == hi.count, "two moments per weight")
    precondition(noise.count == hi.count, "one number per weight")
    for i in hi.indices {
      hi[i] = roundedStochastically(moved(widen(hi[i]), m: m[i], root: root[i]), noise[i])
    }
  }
}

// MARK: A whole step, where nothing is decoded

extension AdamWStep {
  /// Updates weights in two halves, and their moments.
  package func loopUpdate(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, m: inout MutableSpan<Float>,
    v: inout MutableSpan<Float>, _ gradient: Span<Float>
  ) {
    precondition(hi.count == gradient.count && lo.count == gradient.count, "two halves each")
    precondition(m.count == gradient.count && v.count == gradient.count, "two moments each")
    for start in stride(from: 0, to: gradient.count, by: stripElements) {
      gradient.fetchAhead(of: start)
      m.fetchAhead(of: start)
      v.fetchAhead(of: start)
      hi.fetchAhead(of: start)
      lo.fetchAhead(of: start)
      for i in start..<min(start + stripElements, gradient.count) {
        let weight = joinMaster(hi: hi[i], lo: lo[i])
        (hi[i], lo[i]) = splitMaster(updated(weight, &m[i], &v[i], gradient[i]))
      }
    }
  }
}

/// Weights in two halves, or of which there is the upper half alone: in the widest vectors there are.
extension AdamWStep {
  /// As `loopMove`.
  package func move(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, _ m: Span<Float>,
    _ root: Span<Float>
  ) {
    guard let wide = WideLoops.chosen else { return loopMove(hi: &hi, lo: &lo, m, root) }
    wide.move(self, hi: &hi, lo: &lo, m, root)
  }

  /// As `loopMove`.
  package func move(
    hi: inout MutableSpan<UInt16>, _ m: Span<Float>, _ root: Span<Float>, _ noise: Span<UInt16>
  ) {
    guard let wide = WideLoops.chosen else { return loopMove(hi: &hi, m, root, noise) }
    wide.move(self, hi: &hi, m, root, noise)
  }

  /// As `loopUpdate`.
  package func update(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, m: inout MutableSpan<Float>,
    v: inout MutableSpan<Float>, _ gradient: Span<Float>
  ) {
    guard let wide = WideLoops.chosen else {
      return loopUpdate(hi: &hi, lo: &lo, m: &m, v: &v, gradient)
    }
    wide.update(self, hi: &hi, lo: &lo, m: &m, v: &v, gradient)
  }
}

// MARK: Whole floats, whose bound is memory, whatever the vectors

extension AdamWStep {
  /// Updates weights and their moments. As many elements in all spans.
  package func update(
    weights: inout MutableSpan<Float>, m: inout MutableSpan<Float>, v: inout MutableSpan<Float>,
    _ gradient: Span<Float>
  ) {
    precondition(weights.count == gradient.count, "one weight per gradient")
    precondition(m.count == gradient.count && v.count == gradient.count, "two moments each")
    for start in stride(from: 0, to: gradient.count, by: stripElements) {
      gradient.fetchAhead(of: start)
      m.fetchAhead(of: start)
      v.fetchAhead(of: start)
      weights.fetchAhead(of: start)
      for i in start..<min(start + stripElements, gradient.count) {
        weights[i] = updated(weights[i], &m[i], &v[i], gradient[i])
      }
    }
  }

  /// Moves weights, given this step's m and sqrt(v). As many elements in all spans.
  package func move(weights: inout MutableSpan<Float>, _ m: Span<Float>, _ root: Span<Float>) {
    precondition(m.count == weights.count && root.count == weights.count, "two numbers each")
    for i in weights.indices { weights[i] = moved(weights[i], m: m[i], root: root[i]) }
  }

  /// As `update`, of rows.
  package func update(
    weights: borrowing Row, m: borrowing Row, v: borrowing Row, _ gradient: borrowing Row
  ) {
    precondition(weights.count == gradient.count, "one weight per gradient")
    precondition(m.count == gradient.count && v.count == gradient.count, "two moments each")
    for start in stride(from: 0, to: gradient.count, by: stripElements) {
      gradient.fetchAhead(of: start)
      m.fetchAhead(of: start)
      v.fetchAhead(of: start)
      weights.fetchAhead(of: start)
      for i in start..<min(start + stripElements, gradient.count) {
        var (mean, square) = (m[i], v[i])
        weights[i] = updated(weights[i], &mean, &square, gradient[i])
        (m[i], v[i]) = (mean, square)
      }
    }
  }
}

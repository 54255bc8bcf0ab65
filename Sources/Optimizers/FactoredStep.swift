import Base
package import Kernels

/// What one update by `Adafactor` does to each element of a matrix.
package struct AdafactorStep: Sendable {
  private let rowRoots: [Float]
  private let columnRoots: [Float]
  /// Moves a weight as AdamW does, given the gradient as m and the root of v.
  let move: AdamWStep
  private let gradientScale: Float

  init(_ moment: FactoredMoment, rate: Double, keep: Double, gradientScale: Float) {
    (rowRoots, columnRoots) = moment.roots
    self.gradientScale = gradientScale
    move = AdamWStep(
      gradientScale: gradientScale, keep: Float(keep), momentumRate: 1, varianceKeep: 0,
      varianceRate: 1, rate: Float(rate), inverseRootCorrection: 1, epsilon: 0)
  }

  /// Of elements from `first` on, in row order: the gradients as they count, and the roots of their second
  /// moments.
  func prepare(
    from first: Int, _ gradient: Span<Float>, into scaled: inout MutableSpan<Float>,
    _ roots: inout MutableSpan<Float>
  ) {
    let columns = columnRoots.span
    var (done, row, column) = (0, first / columns.count, first % columns.count)
    while done < gradient.count {
      let run = min(columns.count - column, gradient.count - done)
      let rowRoot = rowRoots[row]
      for k in 0..<run {
        scaled[done &+ k] = gradient[done &+ k] * gradientScale
        roots[done &+ k] = rowRoot * columns[column &+ k]
      }
      (done, row, column) = (done + run, row + 1, 0)
    }
  }
}

/// What one update by `Adafactor` does to tensors that lie behind each other.
package struct FactoredStep: Sendable {
  /// Parameters that share a set of numbers for rounding.
  static let groupSize = StatePrecision.valuesPerScale

  struct Part: Sendable {
    let range: Range<Int>
    let step: AdafactorStep
  }

  let parts: [Part]

  /// Weights as they are kept, and where the numbers are that a group of them is rounded by.
  enum Weights: Sendable {
    case floats(Fence<Float>)
    case halves(Fence<UInt16>, Fence<UInt16>)
    case upperHalves(Fence<UInt16>, noise: Fence<UInt16>)
  }

  /// Moves the parameters of `group`.
  /// - Parameter offset: the number of the first parameter that `weights` and `gradient` have.
  func move(
    _ group: Range<Int>, of weights: Weights, _ gradient: Fence<Float>, offset: Int = 0
  ) {
    let zeros = InlineArray<256, Float>(repeating: 0)
    var (scaled, roots) = (zeros, zeros)
    for part in parts where part.range.overlaps(group) {
      let range = part.range.clamped(to: group)
      let place = range.lowerBound - offset..<range.upperBound - offset
      var m = scaled.mutableSpan
      var root = roots.mutableSpan
      part.step.prepare(
        from: range.lowerBound - part.range.lowerBound, gradient.span(place), into: &m, &root)
      let used = 0..<range.count
      let step = part.step.move
      switch weights {
      case .floats(let floats):
        var floats = floats.mutable(place)
        step.move(weights: &floats, m.span.extracting(used), root.span.extracting(used))
      case .halves(let hi, let lo):
        var hi = hi.mutable(place)
        var lo = lo.mutable(place)
        step.move(hi: &hi, lo: &lo, m.span.extracting(used), root.span.extracting(used))
      case .upperHalves(let hi, let noise):
        var hi = hi.mutable(place)
        let numbers = range.lowerBound - group.lowerBound..<range.upperBound - group.lowerBound
        step.move(
          hi: &hi, m.span.extracting(used), root.span.extracting(used), noise.span(numbers))
      }
    }
  }
}

// MARK: Weights that are floats

extension FactoredStep {
  /// Moves parameters from `first` on.
  package func update(
    weights: inout MutableSpan<Float>, gradient: Span<Float>, from first: Int, on workers: Workers
  ) {
    precondition(weights.count == gradient.count, "one weight per gradient")
    let (weights, gradient, count) = (Fence(&weights), Fence(gradient), gradient.count)
    workers.forEachUpdated(of: count) { chunk in
      update(first + chunk.lowerBound..<first + chunk.upperBound, weights, gradient, offset: first)
    }
  }

  /// Moves all of the tensors, as one row. Of the gradient zeros are left, written while it is in the
  /// caches: the next step adds to them.
  package func update(weights: Matrix, gradient: Matrix, on workers: Workers) {
    precondition(weights.rows == 1 && gradient.rows == 1, "one row each")
    precondition(weights.columns == gradient.columns, "one weight per gradient")
    workers.forEachUpdated(of: gradient.columns) { chunk in
      let own = gradient.columns(chunk)
      update(
        chunk, Fence(weights.columns(chunk).row(0)), Fence(own.row(0)), offset: chunk.lowerBound)
      own.fill(0)
    }
  }

  /// - Parameter offset: the number of the first element in `weights` and `gradient`.
  private func update(
    _ chunk: Range<Int>, _ weights: Fence<Float>, _ gradient: Fence<Float>, offset: Int
  ) {
    for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: Self.groupSize) {
      let group = start..<min(start + Self.groupSize, chunk.upperBound)
      move(group, of: .floats(weights), gradient, offset: offset)
    }
  }
}

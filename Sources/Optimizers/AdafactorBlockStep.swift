package import Base
package import Kernels

/// A matrix, or a vector as a matrix of one row, in a block.
package struct FactoredTensor: Sendable, Equatable {
  /// Parameters of the block before it.
  package let offset: Int
  package let rows: Int
  package let columns: Int
  /// Whether weight decay applies.
  package let decays: Bool

  package init(offset: Int, rows: Int, columns: Int, decays: Bool) {
    (self.offset, self.rows, self.columns) = (offset, rows, columns)
    self.decays = decays
  }

  package var range: Range<Int> { offset..<offset + rows * columns }
  /// Floats of its second moments.
  package var factorCount: Int { rows + columns }
}

/// Adafactor on one block of a store, whose `v` has the factors of each tensor one after another: means
/// of rows, means of columns. How a weight is rounded is a function of (seed, step, block, parameter)
/// alone.
package struct AdafactorBlockStep: Sendable {
  /// Parameters whose rounding shares a set of numbers.
  static let groupSize = StatePrecision.valuesPerScale

  private let parts: [(range: Range<Int>, step: AdafactorStep)]
  private let weightNoise: RoundingNoise

  /// Advances the factors; the weights are moved by `update`.
  /// - Parameters:
  ///   - tensors: of the block, in order.
  ///   - hi: upper halves of the weights: how large parameters are is told by these; they stay.
  ///   - v: the factors of all tensors.
  ///   - index: of the block's update, from 1; `step`: of the run.
  ///   - gradient: one float per parameter.
  package init(
    _ optimizer: Adafactor, _ tensors: [FactoredTensor], hi: inout MutableSpan<UInt16>,
    v: inout MutableSpan<UInt8>, gradient: FloatBuffer, index: Int, learningRate: Double,
    gradientScale: Float, seed: UInt64, step: Int, block: BlockID, on workers: Workers
  ) {
    let count = tensors.reduce(0) { $0 + $1.factorCount }
    precondition(v.count == count * MemoryLayout<Float>.stride, "factors of these tensors")
    weightNoise = RoundingNoise(seed: seed, purpose: .weightRounding, step: step, block: block)
    let (factors, hi) = (Fence(&v), Fence(&hi))
    var first = 0
    parts = tensors.map { tensor in
      var floats = factors.mutable(
        Float.self, at: first * MemoryLayout<Float>.stride, count: tensor.factorCount)
      first += tensor.factorCount
      var moment = FactoredMoment(rows: tensor.rows, columns: tensor.columns, floats.span)
      var own = optimizer
      if !tensor.decays { own.weightDecay = 0 }
      let squares =
        optimizer.scalesByParameters
        ? sumOfSquares(hi.span(tensor.range), on: workers) : 0
      let step = own.advance(
        &moment,
        gradient.matrix(rows: tensor.rows, columns: tensor.columns, offset: tensor.offset),
        index: index, learningRate: learningRate, weightSquares: squares,
        gradientScale: gradientScale, on: workers)
      for (i, value) in moment.floats.enumerated() { floats[i] = value }
      return (tensor.range, step)
    }
  }

  /// Moves all weights of the block.
  /// - Parameters:
  ///   - hi: upper halves of the weights, one for each of `gradient`.
  ///   - lo: their remainders; empty where the master is bfloat16.
  ///   - before, changed: called by each worker with the parameters that it moves next, and when it has,
  ///     while their bytes are in its cache; those of all calls together are the block's.
  package func update(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, gradient: Span<Float>,
    on workers: Workers, before: @Sendable (Range<Int>) -> Void = { _ in },
    changed: @Sendable (Range<Int>) -> Void = { _ in }
  ) {
    let count = gradient.count
    precondition(hi.count == count, "one hi half per gradient")
    precondition(lo.count == count || lo.isEmpty, "one lo half per gradient, or none at all")
    let planes = Planes(
      hi: Fence(&hi), lo: lo.isEmpty ? nil : Fence(&lo), gradient: Fence(gradient))
    workers.forEachUpdated(of: count) { chunk in
      before(chunk)
      update(chunk, of: planes)
      changed(chunk)
    }
  }

  private struct Planes: Sendable {
    let hi: Fence<UInt16>
    let lo: Fence<UInt16>?
    let gradient: Fence<Float>
  }

  private func update(_ chunk: Range<Int>, of planes: Planes) {
    let zeros = InlineArray<256, Float>(repeating: 0)
    var (scaled, roots) = (zeros, zeros)
    var noise = InlineArray<256, UInt16>(repeating: 0)
    for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: Self.groupSize) {
      let group = start..<min(start + Self.groupSize, chunk.upperBound)
      var numbers = noise.mutableSpan
      if planes.lo == nil { weightNoise.advance(&numbers, to: start / Self.groupSize) }
      for part in parts where part.range.overlaps(group) {
        let range = part.range.clamped(to: group)
        var m = scaled.mutableSpan
        var root = roots.mutableSpan
        part.step.prepare(
          from: range.lowerBound - part.range.lowerBound, planes.gradient.span(range), into: &m,
          &root)
        let (used, offset) = (0..<range.count, range.lowerBound - start)
        var hi = planes.hi.mutable(range)
        if let lo = planes.lo {
          var lo = lo.mutable(range)
          part.step.move.move(
            hi: &hi, lo: &lo, m.span.extracting(used), root.span.extracting(used))
        } else {
          part.step.move.move(
            hi: &hi, m.span.extracting(used), root.span.extracting(used),
            numbers.span.extracting(offset..<offset + range.count))
        }
      }
    }
  }
}

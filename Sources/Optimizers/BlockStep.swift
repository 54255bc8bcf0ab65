package import Base
package import Kernels

/// AdamW on one block of a store, in one pass over its planes, in whatever precision they are.
///
/// A group of 256 parameters is decoded into arrays that stay in the nearest cache, updated there by
/// the arithmetic of `AdamWStep`, and encoded again: each plane crosses memory once each way. How a
/// number is rounded is a function of (seed, step, block, parameter) alone.
package struct BlockStep: Sendable {
  /// For parameters 0 ..< `matrixParameters`.
  private let matrices: AdamWStep
  /// For the gains and biases behind them.
  private let vectors: AdamWStep
  private let matrixParameters: Int
  private let states: StatePrecision
  private let weightNoise: RoundingNoise
  private let momentNoise: RoundingNoise

  /// - Parameter step: of the run; rounding depends on it, bias correction on the updates that
  ///   `matrices` and `vectors` count.
  package init(
    matrices: AdamWStep, vectors: AdamWStep, matrixParameters: Int, states: StatePrecision,
    seed: UInt64, step: Int, block: BlockID
  ) {
    (self.matrices, self.vectors) = (matrices, vectors)
    (self.matrixParameters, self.states) = (matrixParameters, states)
    weightNoise = RoundingNoise(seed: seed, purpose: .weightRounding, step: step, block: block)
    momentNoise = RoundingNoise(seed: seed, purpose: .momentRounding, step: step, block: block)
  }

  /// Updates all planes of the block.
  /// - Parameters:
  ///   - hi: upper halves of the weights, one for each of `gradient`.
  ///   - lo: their remainders; empty where the master is bfloat16.
  ///   - m: first moments, `states.byteCount` bytes.
  ///   - v: second moments, as many.
  package func update(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, m: inout MutableSpan<UInt8>,
    v: inout MutableSpan<UInt8>, gradient: Span<Float>, on workers: Workers
  ) {
    let count = gradient.count
    precondition(hi.count == count, "one hi half per gradient")
    precondition(lo.count == count || lo.isEmpty, "one lo half per gradient, or none at all")
    precondition(m.count == states.byteCount(count), "one first moment per gradient")
    precondition(v.count == states.byteCount(count), "one second moment per gradient")
    precondition(0...count ~= matrixParameters, "vectors follow matrices")
    guard count > 0 else { return }
    if states == .fp32, !lo.isEmpty { return updateFloats(&hi, &lo, &m, &v, gradient, workers) }
    let planes = Planes(
      hi: Fence(&hi), lo: lo.isEmpty ? nil : Fence(&lo),
      m: MomentPlane(moment: .first, states: states, bytes: Fence(&m), count: count),
      v: MomentPlane(moment: .second, states: states, bytes: Fence(&v), count: count),
      gradient: Fence(gradient))
    workers.forEachChunk(of: count, size: Self.parametersPerTask) { updateChunk($0, of: planes) }
  }

  /// Whole groups, and as much as stays in a core's cache.
  private static let parametersPerTask = 32 * StatePrecision.valuesPerScale

  /// Nothing is decoded: in place.
  private func updateFloats(
    _ hi: inout MutableSpan<UInt16>, _ lo: inout MutableSpan<UInt16>,
    _ m: inout MutableSpan<UInt8>, _ v: inout MutableSpan<UInt8>, _ gradient: Span<Float>,
    _ workers: Workers
  ) {
    let count = gradient.count
    var m = Fence(&m).mutable(Float.self, at: 0, count: count)
    var v = Fence(&v).mutable(Float.self, at: 0, count: count)
    for (step, range) in [
      (matrices, 0..<matrixParameters), (vectors, matrixParameters..<count),
    ] where !range.isEmpty {
      step.update(
        hi: &hi, lo: &lo, m: &m, v: &v, gradient: gradient, elements: range, on: workers)
    }
  }
}

// MARK: Groups

extension BlockStep {
  private struct Planes: Sendable {
    let hi: Fence<UInt16>
    let lo: Fence<UInt16>?
    let m: MomentPlane
    let v: MomentPlane
    let gradient: Fence<Float>
  }

  private func updateChunk(_ chunk: Range<Int>, of planes: Planes) {
    let size = StatePrecision.valuesPerScale
    let zeros = InlineArray<256, Float>(repeating: 0)
    let numbers = InlineArray<256, UInt16>(repeating: 0)
    var (weights, first, second) = (zeros, zeros, zeros)
    var (weightNumbers, firstNumbers, secondNumbers) = (numbers, numbers, numbers)
    for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: size) {
      let group = start..<min(start + size, chunk.upperBound)
      var w = weights.mutableSpan
      var m = first.mutableSpan
      var v = second.mutableSpan
      load(planes, group, into: &w)
      planes.m.load(group, into: &m)
      planes.v.load(group, into: &v)

      let gradient = planes.gradient.span(group)
      let border = min(max(matrixParameters - start, 0), group.count)
      matrices.update(&w, &m, &v, gradient, 0..<border)
      vectors.update(&w, &m, &v, gradient, border..<group.count)

      var weightNoise = weightNumbers.mutableSpan
      store(w.span, planes, group, &weightNoise)
      var firstNoise = firstNumbers.mutableSpan
      var secondNoise = secondNumbers.mutableSpan
      advance(&firstNoise, &secondNoise, to: start / size)
      planes.m.store(m.span, firstNoise.span, group)
      planes.v.store(v.span, secondNoise.span, group)
    }
  }

  private func load(_ planes: Planes, _ group: Range<Int>, into weights: inout MutableSpan<Float>) {
    precondition(group.count <= weights.count, "room for the group")
    let hi = planes.hi.span(group)
    if let lo = planes.lo?.span(group) {
      for i in hi.indices { weights[i] = joinMaster(hi: hi[i], lo: lo[i]) }
    } else {
      for i in hi.indices { weights[i] = widen(hi[i]) }
    }
  }

  private func store(
    _ weights: Span<Float>, _ planes: Planes, _ group: Range<Int>,
    _ noise: inout MutableSpan<UInt16>
  ) {
    precondition(group.count <= weights.count, "one weight each")
    precondition(group.count <= noise.count, "one number each")
    var hi = planes.hi.mutable(group)
    if var lo = planes.lo?.mutable(group) {
      for i in hi.indices { (hi[i], lo[i]) = splitMaster(weights[i]) }
    } else {
      weightNoise.advance(&noise, to: group.lowerBound / StatePrecision.valuesPerScale)
      for i in hi.indices { hi[i] = roundedStochastically(weights[i], noise[i]) }
    }
  }

  /// The numbers that the moments of a group are rounded by. One serves both moments: which of its
  /// bytes counts most makes it as good as two.
  private func advance(
    _ first: inout MutableSpan<UInt16>, _ second: inout MutableSpan<UInt16>, to group: Int
  ) {
    guard states != .fp32 else { return }
    momentNoise.advance(&second, to: group)
    for i in first.indices { first[i] = second[i].byteSwapped }
  }
}

extension AdamWStep {
  /// Elements `range` of spans that have at least so many.
  fileprivate func update(
    _ weights: inout MutableSpan<Float>, _ m: inout MutableSpan<Float>,
    _ v: inout MutableSpan<Float>, _ gradient: Span<Float>, _ range: Range<Int>
  ) {
    precondition(range.upperBound <= gradient.count && gradient.count <= weights.count)
    precondition(gradient.count <= m.count && gradient.count <= v.count)
    for i in range { weights[i] = updated(weights[i], &m[i], &v[i], gradient[i]) }
  }
}

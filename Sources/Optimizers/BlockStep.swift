package import Base
package import Kernels

/// AdamW on one block of a store, in one pass over its planes, in whatever precision they are.
///
/// Group after group of 256 parameters: first one moment, then the other, then the weights, by the
/// arithmetic of `AdamWStep`. What one loop leaves for the next stays in the nearest cache, so each
/// plane crosses memory once each way; short loops keep more of the divisions and square roots in
/// flight than one long loop does. How a number is rounded is a function of (seed, step, block,
/// parameter) alone.
package struct BlockStep: Sendable {
  /// For parameters 0 ..< `matrixParameters`.
  private let matrices: AdamWStep
  /// For the gains and biases behind them.
  private let vectors: AdamWStep
  private let matrixParameters: Int
  private let states: StatePrecision
  private let weightNoise: RoundingNoise
  private let momentNoise: RoundingNoise

  /// - Parameters:
  ///   - matrices, vectors: the same but for their decay.
  ///   - step: of the run; rounding depends on it, bias correction on the updates that `matrices` and
  ///     `vectors` count.
  package init(
    matrices: AdamWStep, vectors: AdamWStep, matrixParameters: Int, states: StatePrecision,
    seed: UInt64, step: Int, block: BlockID
  ) {
    precondition(matrices.hasMoments(of: vectors), "vectors differ in their decay alone")
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
  ///   - before, changed: called by each worker with the parameters that it updates next, and when it
  ///     has, while their bytes are in its cache; those of all calls together are the block's.
  package func update(
    hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, m: inout MutableSpan<UInt8>,
    v: inout MutableSpan<UInt8>, gradient: Span<Float>, on workers: Workers,
    before: @Sendable (Range<Int>) -> Void = { _ in },
    changed: @Sendable (Range<Int>) -> Void = { _ in }
  ) {
    let count = gradient.count
    precondition(hi.count == count, "one hi half per gradient")
    precondition(lo.count == count || lo.isEmpty, "one lo half per gradient, or none at all")
    precondition(m.count == states.byteCount(count), "one first moment per gradient")
    precondition(v.count == states.byteCount(count), "one second moment per gradient")
    precondition(0...count ~= matrixParameters, "vectors follow matrices")
    guard count > 0 else { return }
    let planes = Planes(
      hi: Fence(&hi), lo: lo.isEmpty ? nil : Fence(&lo),
      m: MomentPlane(moment: .first, states: states, bytes: Fence(&m), count: count),
      v: MomentPlane(moment: .second, states: states, bytes: Fence(&v), count: count),
      gradient: Fence(gradient))
    workers.forEachUpdated(of: count) { chunk in
      before(chunk)
      if let lo = planes.lo, states == .fp32 {
        updateFloats(chunk, of: planes, lo)
      } else {
        updateChunk(chunk, of: planes)
      }
      changed(chunk)
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

  /// Nothing is decoded: in place.
  private func updateFloats(_ chunk: Range<Int>, of planes: Planes, _ lo: Fence<UInt16>) {
    let border = border(in: chunk)
    for (step, range) in [
      (matrices, chunk.lowerBound..<border), (vectors, border..<chunk.upperBound),
    ] where !range.isEmpty {
      var hi = planes.hi.mutable(range)
      var lo = lo.mutable(range)
      var m = planes.m.floats(of: range)
      var v = planes.v.floats(of: range)
      step.update(hi: &hi, lo: &lo, m: &m, v: &v, planes.gradient.span(range))
    }
  }

  /// Where in `range` matrices end and vectors begin.
  private func border(in range: Range<Int>) -> Int {
    min(max(matrixParameters, range.lowerBound), range.upperBound)
  }

  private func updateChunk(_ chunk: Range<Int>, of planes: Planes) {
    let size = StatePrecision.valuesPerScale
    let zeros = InlineArray<256, Float>(repeating: 0)
    let numbers = InlineArray<256, UInt16>(repeating: 0)
    var (first, roots, weightNumbers, momentNumbers) = (zeros, zeros, numbers, numbers)
    for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: size) {
      let group = start..<min(start + size, chunk.upperBound)
      var noise = momentNumbers.mutableSpan
      if states != .fp32 { momentNoise.advance(&noise, to: start / size) }
      var m = first.mutableSpan
      var root = roots.mutableSpan
      let gradient = planes.gradient.span(group)
      planes.m.advance(group, matrices, gradient, noise.span, into: &m)
      planes.v.advance(group, matrices, gradient, noise.span, into: &root)

      let border = border(in: group)
      var numbers = weightNumbers.mutableSpan
      if planes.lo == nil { weightNoise.advance(&numbers, to: start / size) }
      move(planes, start..<border, matrices, m.span, root.span, numbers.span, from: 0)
      move(
        planes, border..<group.upperBound, vectors, m.span, root.span, numbers.span,
        from: border - start)
    }
  }

  /// Moves the weights of `range`, whose moments are those of `m` and `root` from `offset` on.
  private func move(
    _ planes: Planes, _ range: Range<Int>, _ step: AdamWStep, _ m: Span<Float>,
    _ root: Span<Float>, _ noise: Span<UInt16>, from offset: Int
  ) {
    let part = offset..<offset + range.count
    var hi = planes.hi.mutable(range)
    let (m, root) = (m.extracting(part), root.extracting(part))
    if let lo = planes.lo {
      var lo = lo.mutable(range)
      step.move(hi: &hi, lo: &lo, m, root)
    } else {
      step.move(hi: &hi, m, root, noise.extracting(part))
    }
  }
}

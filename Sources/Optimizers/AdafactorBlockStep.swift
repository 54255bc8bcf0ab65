package import Base
package import Kernels

/// Adafactor on one block of a store, whose `v` has the factors of each tensor one after another: means
/// of rows, means of columns. How a weight is rounded is a function of (seed, step, block, parameter)
/// alone.
package struct AdafactorBlockStep: Sendable {
  private let tensors: FactoredStep
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
    weightNoise = RoundingNoise(seed: seed, purpose: .weightRounding, step: step, block: block)
    let count = v.count / MemoryLayout<Float>.stride
    let hi = Fence(&hi)
    var factors = Fence(&v).mutable(Float.self, at: 0, count: count)
    self.tensors = optimizer.advance(
      tensors, &factors, gradient, from: 0, index: index, learningRate: learningRate,
      gradientScale: gradientScale, on: workers
    ) { sumOfSquares(hi.span($0.range), on: workers) }
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
    let size = FactoredStep.groupSize
    var noise = InlineArray<256, UInt16>(repeating: 0)
    for start in stride(from: chunk.lowerBound, to: chunk.upperBound, by: size) {
      let group = start..<min(start + size, chunk.upperBound)
      var numbers = noise.mutableSpan
      if let lo = planes.lo {
        tensors.move(group, of: .halves(planes.hi, lo), planes.gradient)
      } else {
        weightNoise.advance(&numbers, to: start / size)
        tensors.move(group, of: .upperHalves(planes.hi, noise: Fence(&numbers)), planes.gradient)
      }
    }
  }
}

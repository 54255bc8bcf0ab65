import Base
import Kernels
import Models
import Paging
import Storage

extension Page {
  /// Fills the planes that were never written: weights from the seed, moments zero, which zero bytes
  /// are in every precision. A block is the same whenever and in whatever order its planes are filled.
  mutating func initialiseIfVirgin(_ shape: ExpertShape, seed: UInt64) {
    let virgin = virgin
    guard !virgin.isEmpty else { return }
    let fill = UniformFill(seed: seed, block: block, bound: shape.bound)
    var spans = spans
    if virgin.contains(.hi) { fill.fill(hi: &spans.hi) }
    if virgin.contains(.lo) { fill.fill(lo: &spans.lo) }
    // Biases begin at zero.
    for index in shape.matrixParameters..<shape.parametersPerBlock {
      if virgin.contains(.hi) { spans.hi[index] = 0 }
      if virgin.contains(.lo) { spans.lo[index] = 0 }
    }
    if virgin.contains(.m) { spans.m.update(repeating: 0) }
    if virgin.contains(.v) { spans.v.update(repeating: 0) }
  }

  /// The weights as floats, by the workers of the node that holds them.
  func widen(into weights: FloatBuffer, precision: StepOptions.Precision, on workers: Workers) {
    let target = weights.matrix(rows: 1, columns: weights.count)
    let workers = workers.on(node(of: .hi))
    switch (precision, geometry.format.master) {
    case (.bf16, _), (.fp32, .bf16): Kernels.widen(hi, into: target, on: workers)
    case (.fp32, .fp32): joinMaster(hi: hi, lo: lo, into: target, on: workers)
    }
  }
}

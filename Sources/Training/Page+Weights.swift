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
  /// - Parameter sums: of what is read, taken on the way.
  func widen(
    into weights: SpacedFloats, precision: StepOptions.Precision, on workers: Workers,
    sums: PieceSums? = nil
  ) {
    let workers = workers.on(node(of: .hi))
    let check: @Sendable (Range<Int>) -> Void = {
      sums?.take($0, isLast: $0.upperBound == weights.count)
    }
    if joins(precision) {
      joinMaster(hi: hi, lo: lo, into: weights, on: workers, before: check)
    } else {
      Kernels.widen(hi, into: weights, on: workers, before: check)
    }
  }

  /// Whether weights of `precision` are made of both halves.
  fileprivate func joins(_ precision: StepOptions.Precision) -> Bool {
    precision == .fp32 && geometry.format.master == .fp32
  }
}

extension Pager {
  /// As `Page.widen`; checksums of what was read are compared on the way.
  /// - Throws: `StorageError` for bytes that cannot be read right.
  mutating func widenChecked(
    _ page: inout Page, into weights: ExpertWeights, precision: StepOptions.Precision,
    on workers: Workers
  ) throws {
    var isRight = false
    while !isRight {
      let sums = page.sums(toCheck: page.joins(precision) ? [.hi, .lo] : .hi)
      page.widen(into: weights.floats, precision: precision, on: workers, sums: sums)
      isRight = try check(&page, sums, isChanged: false)
    }
  }
}

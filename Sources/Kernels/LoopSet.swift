/// The loops that there are in two forms: as they are compiled for every processor, and as a library has
/// them for AVX-512.
package protocol LoopSet {
  /// As `loopExponentiate`.
  func exponentiate(_ x: borrowing Row, minus offset: Float)
  /// As `Activation.loopForward`, and so on.
  func forward(_ activation: Activation, _ x: borrowing Row)
  func forward(_ activation: Activation, gate: borrowing Row, up: borrowing Row)
  func backward(
    _ activation: Activation, _ x: borrowing Row, _ dy: borrowing Row, weight: Float
  ) -> Float
  func backward(
    _ activation: Activation, gate: borrowing Row, up: borrowing Row, _ dy: borrowing Row,
    weight: Float
  ) -> Float
  /// As `PhiloxBatch.loopFill`.
  func fill(
    _ batch: PhiloxBatch, _ numbers: inout MutableSpan<UInt16>, _ a: UInt32, _ b: UInt32, set: Int)
  /// As `Moment.loopAdvance`.
  func advance(
    _ moment: Moment, codes: inout MutableSpan<UInt8>, scale: inout Float, _ step: AdamWStep,
    _ gradient: Span<Float>, _ noise: Span<UInt16>, into used: inout MutableSpan<Float>)
  /// As `AdamWStep.loopMove`.
  func move(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>,
    _ m: Span<Float>, _ root: Span<Float>)
  func move(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, _ m: Span<Float>, _ root: Span<Float>,
    _ noise: Span<UInt16>)
  /// As `AdamWStep.loopUpdate`.
  func update(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>,
    m: inout MutableSpan<Float>, v: inout MutableSpan<Float>, _ gradient: Span<Float>)
}

/// Those of this program.
package struct PlainLoops: LoopSet {
  package init() {}

  package func exponentiate(_ x: borrowing Row, minus offset: Float) {
    loopExponentiate(x, minus: offset)
  }

  package func forward(_ activation: Activation, _ x: borrowing Row) { activation.loopForward(x) }

  package func forward(_ activation: Activation, gate: borrowing Row, up: borrowing Row) {
    activation.loopForward(gate: gate, up: up)
  }

  package func backward(
    _ activation: Activation, _ x: borrowing Row, _ dy: borrowing Row, weight: Float
  ) -> Float {
    activation.loopBackward(x, dy, weight: weight)
  }

  package func backward(
    _ activation: Activation, gate: borrowing Row, up: borrowing Row, _ dy: borrowing Row,
    weight: Float
  ) -> Float {
    activation.loopBackward(gate: gate, up: up, dy, weight: weight)
  }

  package func fill(
    _ batch: PhiloxBatch, _ numbers: inout MutableSpan<UInt16>, _ a: UInt32, _ b: UInt32, set: Int
  ) {
    batch.loopFill(&numbers, a, b, set: set)
  }

  package func advance(
    _ moment: Moment, codes: inout MutableSpan<UInt8>, scale: inout Float, _ step: AdamWStep,
    _ gradient: Span<Float>, _ noise: Span<UInt16>, into used: inout MutableSpan<Float>
  ) {
    moment.loopAdvance(codes: &codes, scale: &scale, step, gradient, noise, into: &used)
  }

  package func move(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>,
    _ m: Span<Float>, _ root: Span<Float>
  ) {
    step.loopMove(hi: &hi, lo: &lo, m, root)
  }

  package func move(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, _ m: Span<Float>, _ root: Span<Float>,
    _ noise: Span<UInt16>
  ) {
    step.loopMove(hi: &hi, m, root, noise)
  }

  package func update(
    _ step: AdamWStep, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>,
    m: inout MutableSpan<Float>, v: inout MutableSpan<Float>, _ gradient: Span<Float>
  ) {
    step.loopUpdate(hi: &hi, lo: &lo, m: &m, v: &v, gradient)
  }
}

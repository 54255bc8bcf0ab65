/// What `WideLoops` of Kernels calls. This directory's `Loops` is that of Kernels: the same files,
/// compiled for AVX-512.

@c(pagoda_wide_interface)
public func interface() -> UInt32 { loopInterface }

@c(pagoda_wide_exponentiate)
public func exponentiate(_ x: UnsafeMutablePointer<Float>, _ count: Int, _ offset: Float) {
  unsafe loopExponentiate(Row(base: x, count: count), minus: offset)
}

// MARK: Activations

@c(pagoda_wide_forward)
public func forward(_ activation: Int32, _ x: UnsafeMutablePointer<Float>, _ count: Int) {
  unsafe Activation(number: activation).loopForward(Row(base: x, count: count))
}

@c(pagoda_wide_forward_gated)
public func forwardGated(
  _ activation: Int32, _ gate: UnsafeMutablePointer<Float>, _ up: UnsafeMutablePointer<Float>,
  _ count: Int
) {
  unsafe Activation(number: activation).loopForward(
    gate: Row(base: gate, count: count), up: Row(base: up, count: count))
}

@c(pagoda_wide_backward)
public func backward(
  _ activation: Int32, _ x: UnsafeMutablePointer<Float>, _ dy: UnsafeMutablePointer<Float>,
  _ count: Int, _ weight: Float
) -> Float {
  unsafe Activation(number: activation).loopBackward(
    Row(base: x, count: count), Row(base: dy, count: count), weight: weight)
}

@c(pagoda_wide_backward_gated)
public func backwardGated(
  _ activation: Int32, _ gate: UnsafeMutablePointer<Float>, _ up: UnsafeMutablePointer<Float>,
  _ dy: UnsafeMutablePointer<Float>, _ count: Int, _ weight: Float
) -> Float {
  unsafe Activation(number: activation).loopBackward(
    gate: Row(base: gate, count: count), up: Row(base: up, count: count),
    Row(base: dy, count: count), weight: weight)
}

// MARK: Updates. What is fixed lies at `batch` and `step`, a PhiloxBatch and an AdamWStep

@c(pagoda_wide_fill)
public func fill(
  _ batch: UnsafeRawPointer, _ numbers: UnsafeMutablePointer<UInt16>, _ a: UInt32, _ b: UInt32,
  _ set: Int
) {
  var numbers = unsafe MutableSpan(_unsafeStart: numbers, count: PhiloxBatch.setCount)
  unsafe batch.load(as: PhiloxBatch.self).loopFill(&numbers, a, b, set: set)
}

@c(pagoda_wide_advance_codes)
public func advanceCodes(
  _ moment: Int32, _ step: UnsafeRawPointer, _ codes: UnsafeMutablePointer<UInt8>,
  _ scale: UnsafeMutablePointer<Float>, _ gradient: UnsafeMutablePointer<Float>,
  _ noise: UnsafeMutablePointer<UInt16>, _ used: UnsafeMutablePointer<Float>, _ count: Int
) {
  var codes = unsafe MutableSpan(_unsafeStart: codes, count: count)
  var used = unsafe MutableSpan(_unsafeStart: used, count: count)
  unsafe Moment(number: moment).loopAdvance(
    codes: &codes, scale: &scale.pointee, step.load(as: AdamWStep.self), span(gradient, count),
    span(noise, count), into: &used)
}

@c(pagoda_wide_move)
public func move(
  _ step: UnsafeRawPointer, _ hi: UnsafeMutablePointer<UInt16>,
  _ lo: UnsafeMutablePointer<UInt16>, _ m: UnsafeMutablePointer<Float>,
  _ root: UnsafeMutablePointer<Float>, _ count: Int
) {
  var hi = unsafe MutableSpan(_unsafeStart: hi, count: count)
  var lo = unsafe MutableSpan(_unsafeStart: lo, count: count)
  unsafe step.load(as: AdamWStep.self).loopMove(
    hi: &hi, lo: &lo, span(m, count), span(root, count))
}

@c(pagoda_wide_move_rounded)
public func moveRounded(
  _ step: UnsafeRawPointer, _ hi: UnsafeMutablePointer<UInt16>, _ m: UnsafeMutablePointer<Float>,
  _ root: UnsafeMutablePointer<Float>, _ noise: UnsafeMutablePointer<UInt16>, _ count: Int
) {
  var hi = unsafe MutableSpan(_unsafeStart: hi, count: count)
  unsafe step.load(as: AdamWStep.self).loopMove(
    hi: &hi, span(m, count), span(root, count), span(noise, count))
}

@c(pagoda_wide_update)
public func update(
  _ step: UnsafeRawPointer, _ hi: UnsafeMutablePointer<UInt16>,
  _ lo: UnsafeMutablePointer<UInt16>, _ m: UnsafeMutablePointer<Float>,
  _ v: UnsafeMutablePointer<Float>, _ gradient: UnsafeMutablePointer<Float>, _ count: Int
) {
  var hi = unsafe MutableSpan(_unsafeStart: hi, count: count)
  var lo = unsafe MutableSpan(_unsafeStart: lo, count: count)
  var m = unsafe MutableSpan(_unsafeStart: m, count: count)
  var v = unsafe MutableSpan(_unsafeStart: v, count: count)
  unsafe step.load(as: AdamWStep.self).loopUpdate(
    hi: &hi, lo: &lo, m: &m, v: &v, span(gradient, count))
}

@_lifetime(immortal)
@unsafe private func span<Element>(_ base: UnsafeMutablePointer<Element>, _ count: Int)
  -> Span<Element>
{
  let span = unsafe Span(_unsafeStart: base, count: count)
  return unsafe _overrideLifetime(span, borrowing: ())
}

/// What `WideLoops` of Kernels calls. This directory's `Loops` is that of Kernels: the same files,
/// compiled for AVX-512.

@c(pagoda_wide_exponentiate)
public func exponentiate(_ x: UnsafeMutablePointer<Float>, _ count: Int, _ offset: Float) {
  unsafe loopExponentiate(Row(base: x, count: count), minus: offset)
}

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

/// The function between the two projections of a feed-forward layer.
///
/// Values are within 1e-6 of themselves plus 1e-9, slopes within 1e-6. All loops go over one row;
/// those backward take the row before the activation and leave what the layer needs next.
package enum Activation: String, Sendable, CaseIterable {
  /// max(x, 0).
  case relu
  /// x Phi(x) with the normal distribution, exact.
  case gelu
  /// Its approximation by a hyperbolic tangent: "gelu_new", "gelu_pytorch_tanh".
  case geluTanh
  /// x sigmoid(x), also called swish.
  case silu

  /// What the library of wide loops is told: only numbers cross its border.
  var number: Int32 {
    switch self {
    case .relu: 0
    case .gelu: 1
    case .geluTanh: 2
    case .silu: 3
    }
  }

  init(number: Int32) {
    switch number {
    case 0: self = .relu
    case 1: self = .gelu
    case 2: self = .geluTanh
    case 3: self = .silu
    default: preconditionFailure("no activation has the number \(number)")
    }
  }
}

// MARK: The loops, in the vectors of whichever module they are compiled in

extension Activation {
  /// x = f(x).
  package func loopForward(_ x: borrowing Row) {
    switch self {
    case .relu: applyForward(Relu.self, x)
    case .gelu: applyForward(Gelu.self, x)
    case .geluTanh: applyForward(GeluTanh.self, x)
    case .silu: applyForward(Silu.self, x)
    }
  }

  /// gate = f(gate) * up.
  package func loopForward(gate: borrowing Row, up: borrowing Row) {
    switch self {
    case .relu: applyForward(Relu.self, gate: gate, up: up)
    case .gelu: applyForward(Gelu.self, gate: gate, up: up)
    case .geluTanh: applyForward(GeluTanh.self, gate: gate, up: up)
    case .silu: applyForward(Silu.self, gate: gate, up: up)
    }
  }

  /// For y = f(x): x = weight * y and dy = weight * dy * f'(x). Returns <y, dy> as they were
  /// before the weight.
  package func loopBackward(_ x: borrowing Row, _ dy: borrowing Row, weight: Float) -> Float {
    switch self {
    case .relu: applyBackward(Relu.self, x, dy, weight)
    case .gelu: applyBackward(Gelu.self, x, dy, weight)
    case .geluTanh: applyBackward(GeluTanh.self, x, dy, weight)
    case .silu: applyBackward(Silu.self, x, dy, weight)
    }
  }

  /// For y = f(gate) * up: gate = weight * y, up = weight * dup and dy = weight * dgate. Returns
  /// <y, dy> as they were before the weight.
  package func loopBackward(
    gate: borrowing Row, up: borrowing Row, _ dy: borrowing Row, weight: Float
  ) -> Float {
    switch self {
    case .relu: applyBackward(Relu.self, gate: gate, up: up, dy, weight)
    case .gelu: applyBackward(Gelu.self, gate: gate, up: up, dy, weight)
    case .geluTanh: applyBackward(GeluTanh.self, gate: gate, up: up, dy, weight)
    case .silu: applyBackward(Silu.self, gate: gate, up: up, dy, weight)
    }
  }
}

private func applyForward<C: Curve>(_ curve: C.Type, _ x: borrowing Row) {
  for j in 0..<x.count { x[j] = C.at(x[j]).value }
}

private func applyForward<C: Curve>(_ curve: C.Type, gate: borrowing Row, up: borrowing Row) {
  precondition(gate.count == up.count, "rows of one length")
  for j in 0..<gate.count { gate[j] = C.at(gate[j]).value * up[j] }
}

private func applyBackward<C: Curve>(
  _ curve: C.Type, _ x: borrowing Row, _ dy: borrowing Row, _ weight: Float
) -> Float {
  precondition(x.count == dy.count, "rows of one length")
  var inner = InnerProduct()
  for first in stride(from: 0, to: x.count, by: InnerProduct.width) {
    let range = first..<min(x.count, first &+ InnerProduct.width)
    let (x, dy) = (x.part(range), dy.part(range))
    for j in 0..<x.count {
      let (value, slope) = C.at(x[j])
      inner.add(j, value, dy[j])
      (x[j], dy[j]) = (weight * value, weight * dy[j] * slope)
    }
  }
  return inner.sum()
}

private func applyBackward<C: Curve>(
  _ curve: C.Type, gate: borrowing Row, up: borrowing Row, _ dy: borrowing Row, _ weight: Float
) -> Float {
  precondition(gate.count == up.count, "a row of one length")
  precondition(gate.count == dy.count, "rows of one length")
  var inner = InnerProduct()
  for first in stride(from: 0, to: gate.count, by: InnerProduct.width) {
    let range = first..<min(gate.count, first &+ InnerProduct.width)
    let (gate, up, dy) = (gate.part(range), up.part(range), dy.part(range))
    for j in 0..<gate.count {
      let (value, slope) = C.at(gate[j])
      let (y, weighted) = (value * up[j], weight * dy[j])
      inner.add(j, y, dy[j])
      (gate[j], dy[j], up[j]) = (weight * y, weighted * up[j] * slope, weighted * value)
    }
  }
  return inner.sum()
}

/// An inner product whose terms come up inside another loop: 64 sums side by side, so that the loop
/// still vectorises, added as a tree.
private struct InnerProduct {
  static let width = 64
  private var sums = InlineArray<64, Float>(repeating: 0)

  @inline(__always)
  mutating func add(_ index: Int, _ x: Float, _ y: Float) {
    sums[index] = sums[index].addingProduct(x, y)
  }

  mutating func sum() -> Float {
    var half = Self.width / 2
    while half > 0 {
      for j in 0..<half { sums[j] += sums[j &+ half] }
      half /= 2
    }
    return sums[0]
  }
}

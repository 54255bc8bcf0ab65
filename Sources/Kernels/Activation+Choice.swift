/// The functions over a row, in the widest vectors there are. ReLU has nothing to compute, so memory
/// is its bound whatever the vectors.
extension Activation {
  private var wide: WideLoops? { self == .relu ? nil : WideLoops.chosen }

  /// x = f(x).
  package func forward(_ x: borrowing Row) {
    guard let wide else { return loopForward(x) }
    wide.forward(self, x)
  }

  /// gate = f(gate) * up.
  package func forward(gate: borrowing Row, up: borrowing Row) {
    guard let wide else { return loopForward(gate: gate, up: up) }
    wide.forward(self, gate: gate, up: up)
  }

  /// For y = f(x): x = weight * y and dy = weight * dy * f'(x). Returns <y, dy> as they were
  /// before the weight.
  package func backward(_ x: borrowing Row, _ dy: borrowing Row, weight: Float) -> Float {
    guard let wide else { return loopBackward(x, dy, weight: weight) }
    return wide.backward(self, x, dy, weight: weight)
  }

  /// For y = f(gate) * up: gate = weight * y, up = weight * dup and dy = weight * dgate. Returns
  /// <y, dy> as they were before the weight.
  package func backward(
    gate: borrowing Row, up: borrowing Row, _ dy: borrowing Row, weight: Float
  ) -> Float {
    guard let wide else { return loopBackward(gate: gate, up: up, dy, weight: weight) }
    return wide.backward(self, gate: gate, up: up, dy, weight: weight)
  }
}

package import Kernels

/// From what a gate looks at to its logits, and back: the part that all gates have in common.
///
/// Legend: S tokens of one micro-batch, U units of them, D model width, E experts. The weight is
/// [E, D].
struct GateProjection: Sendable {
  let experts: Int
  let jitter: GateJitter
  /// Scratch: dlogits [S, E], and with jitter the input as the gate saw it, [S, D].
  let dlogits: Matrix
  private let jittered: Matrix

  init(experts: Int, width: Int, tokensMax: Int, jitter: Float, seed: UInt64) {
    self.experts = experts
    self.jitter = GateJitter(amount: jitter, seed: seed)
    dlogits = Matrix(rows: tokensMax, columns: experts)
    jittered = Matrix(rows: jitter > 0 ? tokensMax : 0, columns: width)
  }

  /// logits = x W^T + b.
  /// - Parameters:
  ///   - bias: [1, E]; nil: none.
  ///   - units: what decides for the tokens together; nil: each for itself.
  ///   - key: of the jitter; nil: there is none.
  func forward(
    _ x: Matrix, weight: Matrix, bias: Matrix?, units: GateUnits?, key: GateKey?,
    into logits: Matrix, on workers: Workers
  ) {
    check(x, weight, logits, units)
    if let units {
      units.forward(weight, into: logits)
    } else {
      let input = input(x, key, on: workers)
      matmul(input, weight, transposeB: true, into: logits, on: workers)
    }
    if let bias { addRow(bias, to: logits, on: workers) }
  }

  /// dweight, dbias += and, for tokens that decide for themselves, dx +=; units have their own
  /// gradient overwritten.
  /// - Parameter dlogits: [S, E]; of units it is overwritten.
  func backward(
    _ x: Matrix, weight: Matrix, units: GateUnits?, key: GateKey?, dlogits: Matrix,
    into gradients: GateGradients, on workers: Workers
  ) {
    let (dweight, dx) = (gradients.weight, gradients.x)
    precondition(dweight.rows == weight.rows && dweight.columns == weight.columns, "dW is [E, D]")
    precondition(dx.rows == x.rows && dx.columns == x.columns, "dx is [S, D]")
    if let dbias = gradients.bias {
      sumColumns(dlogits, into: dbias, accumulate: true, on: workers)
    }
    if let units { return units.backward(weight, dlogits: dlogits, dweight: dweight) }
    let input = input(x, key, on: workers)
    matmul(dlogits, input, transposeA: true, into: dweight, accumulate: true, on: workers)
    guard let key, jitter.amount > 0 else {
      return matmul(dlogits, weight, into: dx, accumulate: true, on: workers)
    }
    let dinput = jittered.rows(0..<x.rows)
    matmul(dlogits, weight, into: dinput, on: workers)
    jitter.apply(to: dinput, key, on: workers)
    add(dinput, to: dx, on: workers)
  }

  /// What the gate sees of x: x itself, or x with jitter, in scratch.
  private func input(_ x: Matrix, _ key: GateKey?, on workers: Workers) -> Matrix {
    guard let key, jitter.amount > 0 else { return x }
    let seen = jittered.rows(0..<x.rows)
    seen.copy(from: x)
    jitter.apply(to: seen, key, on: workers)
    return seen
  }

  private func check(_ x: Matrix, _ weight: Matrix, _ logits: Matrix, _ units: GateUnits?) {
    precondition(weight.rows == experts && weight.columns == x.columns, "weight is [E, D]")
    precondition(logits.rows == x.rows, "logits are [S, E]")
    precondition(logits.columns == experts, "logits are [S, E]")
    precondition(x.rows <= dlogits.rows, "a micro-batch within the limit given at init")
    precondition(jitter.amount == 0 || jittered.columns == x.columns, "the width given at init")
    precondition(units.map { $0.ofToken.count == x.rows } ?? true, "a unit per token")
  }
}

/// What the gradients of a gate are added to.
package struct GateGradients {
  /// [E, D].
  package let weight: Matrix
  /// [1, E].
  package let bias: Matrix?
  /// [S, D].
  package let x: Matrix

  package init(weight: Matrix, bias: Matrix? = nil, x: Matrix) {
    (self.weight, self.bias, self.x) = (weight, bias, x)
  }
}

/// What decides for many tokens at once: a sentence, by the mean of its tokens, or a task, by its
/// embedding (Kudugunta et al., "Beyond distillation: Task-level mixture-of-experts for efficient
/// inference", 2021). Without jitter: one decision is made, not many that differ a little.
package struct GateUnits: Sendable {
  /// [U, D], and their gradient.
  package let inputs: Matrix
  package let dInputs: Matrix
  /// The unit of each token.
  package let ofToken: [Int]

  package init(inputs: Matrix, dInputs: Matrix, ofToken: [Int]) {
    precondition(ofToken.allSatisfy { 0..<inputs.rows ~= $0 }, "every token has a unit")
    (self.inputs, self.dInputs, self.ofToken) = (inputs, dInputs, ofToken)
  }

  /// The tokens of each unit, ascending.
  private var tokens: [[Int]] {
    ofToken.indices.reduce(into: Array(repeating: [], count: inputs.rows)) {
      $0[ofToken[$1]].append($1)
    }
  }

  /// The logits of every token are those of its unit. Each is a product of a row by itself: its bits
  /// do not depend on what else is in the batch.
  fileprivate func forward(_ weight: Matrix, into logits: Matrix) {
    for (unit, tokens) in tokens.enumerated() {
      guard let first = tokens.first else { continue }
      let own = logits.rows(first..<first + 1)
      matmul(inputs.rows(unit..<unit + 1), weight, transposeB: true, into: own, on: .inline)
      for token in tokens.dropFirst() { logits.rows(token..<token + 1).copy(from: own) }
    }
  }

  /// dweight += and dInputs =; the gradient of a unit's logits is the sum over its tokens, in order.
  fileprivate func backward(_ weight: Matrix, dlogits: Matrix, dweight: Matrix) {
    dInputs.fill(0)
    for (unit, tokens) in tokens.enumerated() {
      guard let first = tokens.first else { continue }
      let sum = dlogits.rows(first..<first + 1)
      for token in tokens.dropFirst() {
        add(dlogits.rows(token..<token + 1), to: sum, on: .inline)
      }
      let row = unit..<unit + 1
      matmul(
        sum, inputs.rows(row), transposeA: true, into: dweight, accumulate: true, on: .inline)
      matmul(sum, weight, into: dInputs.rows(row), on: .inline)
    }
  }
}

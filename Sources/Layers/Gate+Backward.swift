import Base
package import Kernels

extension Gate {
  /// dweight += and dx += from the loss's gradient of the combine weights and from the balance
  /// loss.
  ///
  /// `dprobability` is dL/dp of each token's choice; of a dropped token it is ignored, as its
  /// expert output does not exist. `auxiliaryScale` multiplies the balance loss in L; its token
  /// shares count as constants. x, key and isTraining as in the forward pass.
  package func backward(
    _ x: Matrix, weight: Matrix, routing: Routing, key: GateKey, isTraining: Bool,
    dprobability: [Float], auxiliaryScale: Float, dweight: Matrix, dx: Matrix,
    on workers: Workers
  ) {
    check(x, weight, routing.probabilities)
    precondition(dprobability.count == x.rows, "one gradient per token")
    precondition(dweight.rows == weight.rows && dweight.columns == weight.columns, "dW is [E, D]")
    precondition(dx.rows == x.rows && dx.columns == x.columns, "dx is [S, D]")
    guard x.rows > 0 else { return }
    let dlogits = dlogits.rows(0..<x.rows)
    logitGradients(routing, dprobability, auxiliaryScale, into: dlogits)
    let input = input(x, key, isTraining, on: workers)
    matmul(dlogits, input, transposeA: true, into: dweight, accumulate: true, on: workers)
    guard isTraining, jitter.amount > 0 else {
      return matmul(dlogits, weight, into: dx, accumulate: true, on: workers)
    }
    let dinput = jittered.rows(0..<x.rows)
    matmul(dlogits, weight, into: dinput, on: workers)
    jitter.apply(to: dinput, key, on: workers)
    add(dinput, to: dx, on: workers)
  }

  /// Through the softmax: dz = p (dp - <p, dp>), where dp[e] = scale * E * counts[e] / S^2 from the
  /// balance loss, plus dprobability at the choice of a kept token.
  private func logitGradients(
    _ routing: Routing, _ dprobability: [Float], _ auxiliaryScale: Float, into dlogits: Matrix
  ) {
    let tokens = Double(dlogits.rows)
    let shared = routing.counts.map {
      auxiliaryScale * Float(Double(experts) * Double($0) / (tokens * tokens))
    }
    for token in 0..<dlogits.rows {
      let dp = dlogits.row(token)
      for expert in 0..<experts { dp[expert] = shared[expert] }
      if routing.kept[token] { dp[Int(routing.choice[token])] += dprobability[token] }
      softmaxBackward(output: routing.probabilities.row(token), dp)
    }
  }

  /// What the gate sees of x: x itself, or x with jitter, in scratch.
  func input(_ x: Matrix, _ key: GateKey, _ isTraining: Bool, on workers: Workers) -> Matrix {
    guard isTraining, jitter.amount > 0 else { return x }
    let seen = jittered.rows(0..<x.rows)
    seen.copy(from: x)
    jitter.apply(to: seen, key, on: workers)
    return seen
  }
}

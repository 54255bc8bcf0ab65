import Base
package import Kernels

extension Gate {
  /// Gradients from the loss's gradient of the combine weights and from the balance loss.
  ///
  /// `dprobability` is dL/dp of each token's choice; of a dropped token it is ignored, as its
  /// expert output does not exist. `auxiliaryScale` multiplies the balance loss in L; its token
  /// shares count as constants. x, units, kept, key and isTraining as in the forward pass.
  package func backward(
    _ x: Matrix, weight: Matrix, units: GateUnits? = nil, kept: KeptExperts? = nil,
    routing: Routing, key: GateKey, isTraining: Bool, dprobability: [Float], auxiliaryScale: Float,
    into gradients: GateGradients, on workers: Workers
  ) {
    precondition(dprobability.count == x.rows, "one gradient per token")
    guard x.rows > 0 else { return }
    let dlogits = projection.dlogits.rows(0..<x.rows)
    logitGradients(
      routing, dprobability, auxiliaryScale, kept?.count ?? experts, into: dlogits)
    projection.backward(
      x, weight: weight, units: units, key: isTraining ? key : nil, dlogits: dlogits,
      into: gradients, on: workers)
  }

  /// Through the softmax: dz = p (dp - <p, dp>), where dp[e] = scale * E * counts[e] / S^2 from the
  /// balance loss, plus dprobability at the choice of a kept token.
  private func logitGradients(
    _ routing: Routing, _ dprobability: [Float], _ auxiliaryScale: Float, _ there: Int,
    into dlogits: Matrix
  ) {
    let tokens = Double(dlogits.rows)
    let shared = routing.counts.map {
      auxiliaryScale * Float(Double(there) * Double($0) / (tokens * tokens))
    }
    for token in 0..<dlogits.rows {
      let dp = dlogits.row(token)
      for expert in 0..<experts { dp[expert] = shared[expert] }
      if routing.kept[token] { dp[Int(routing.choice[token])] += dprobability[token] }
      softmaxBackward(output: routing.probabilities.row(token), dp)
    }
  }
}

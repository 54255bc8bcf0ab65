package import Kernels

extension TopKGate {
  /// Gradients from the loss's gradient of the combine weights and of the router losses.
  ///
  /// - Parameters:
  ///   - dcombine: dL/dw of each choice; of a dropped one it is ignored, as its output does not
  ///     exist.
  ///   - losses: what the router losses add.
  ///   - x, units, key, isTraining: as in the forward pass.
  package func backward(
    _ x: Matrix, weight: Matrix, units: GateUnits? = nil, routing: Routing, key: GateKey,
    isTraining: Bool, dcombine: [Float], losses: RouterLossGradient,
    into gradients: GateGradients, on workers: Workers
  ) {
    precondition(dcombine.count == x.rows * k, "one gradient per choice")
    guard x.rows > 0 else { return }
    let dlogits = projection.dlogits.rows(0..<x.rows)
    for token in 0..<x.rows {
      logitGradient(token, routing, dcombine, losses, into: dlogits.row(token))
    }
    projection.backward(
      x, weight: weight, units: units, key: isTraining ? key : nil, dlogits: dlogits,
      into: gradients, on: workers)
  }

  /// Through the softmax: dz = p (dp - <p, dp>), and p dl for the gradient dl of log sum exp z.
  private func logitGradient(
    _ token: Int, _ routing: Routing, _ dcombine: [Float], _ losses: RouterLossGradient,
    into dp: borrowing Row
  ) {
    let p = routing.probabilities.row(token)
    losses.probabilities(token, into: dp)
    addCombineGradient(token, routing, dcombine, to: dp)
    softmaxBackward(output: p, dp)
    let dl = losses.logSumExp(token, routing)
    if dl != 0 {
      for expert in 0..<experts { dp[expert] += dl * p[expert] }
    }
  }

  /// The combine weights are p / sum: dp = (dw - <dw, w>) / sum for every choice in the sum, where
  /// the sum is not held up at its least value.
  private func addCombineGradient(
    _ token: Int, _ routing: Routing, _ dcombine: [Float], to dp: borrowing Row
  ) {
    let numbers = token * k..<(token + 1) * k
    let sum = normaliser(numbers, routing.choice, routing.kept, routing.probabilities)
    var inner: Float = 0
    if combine != .probability, sum > Self.smallestSum {
      for number in numbers where routing.kept[number] {
        inner += dcombine[number] * routing.probability[number]
      }
    }
    for number in numbers where routing.choice[number] >= 0 {
      let own = routing.kept[number] ? dcombine[number] : 0
      let common = counts(number, routing.choice, routing.kept) ? inner : 0
      dp[Int(routing.choice[number])] += (own - common) / sum
    }
  }
}

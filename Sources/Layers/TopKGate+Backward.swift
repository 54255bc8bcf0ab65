package import Kernels

extension TopKGate {
  /// dweight, dbias and dx += from the loss's gradient of the combine weights and of the router
  /// losses.
  ///
  /// - Parameters:
  ///   - dcombine: dL/dw of each choice; of a dropped one it is ignored, as its output does not
  ///     exist.
  ///   - losses: what the router losses add.
  ///   - x, key, isTraining: as in the forward pass.
  package func backward(
    _ x: Matrix, weight: Matrix, routing: Routing, key: GateKey, isTraining: Bool,
    dcombine: [Float], losses: RouterLossGradient, dweight: Matrix, dbias: Matrix?, dx: Matrix,
    on workers: Workers
  ) {
    check(x, weight, routing.probabilities)
    precondition(dcombine.count == x.rows * k, "one gradient per choice")
    precondition(dweight.rows == weight.rows && dweight.columns == weight.columns, "dW is [E, D]")
    precondition(dx.rows == x.rows && dx.columns == x.columns, "dx is [S, D]")
    guard x.rows > 0 else { return }
    let dlogits = dlogits.rows(0..<x.rows)
    for token in 0..<x.rows {
      logitGradient(token, routing, dcombine, losses, into: dlogits.row(token))
    }
    let input = input(x, key, isTraining, on: workers)
    matmul(dlogits, input, transposeA: true, into: dweight, accumulate: true, on: workers)
    if let dbias { addRows(dlogits, to: dbias) }
    guard isTraining, jitter.amount > 0 else {
      return matmul(dlogits, weight, into: dx, accumulate: true, on: workers)
    }
    let dinput = jittered.rows(0..<x.rows)
    matmul(dlogits, weight, into: dinput, on: workers)
    jitter.apply(to: dinput, key, on: workers)
    add(dinput, to: dx, on: workers)
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

  private func addRows(_ x: Matrix, to total: Matrix) {
    precondition(total.rows == 1 && total.columns == x.columns, "dbias is [1, E]")
    let total = total.row(0)
    for token in 0..<x.rows {
      let row = x.row(token)
      for j in 0..<row.count { total[j] += row[j] }
    }
  }
}

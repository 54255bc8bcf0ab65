import Kernels

extension FeedForward {
  /// The hidden units of one call, each [N, F]. The backward pass turns them from pre-activations
  /// and the gradient of what enters W2 into what enters W2 and the gradients of the
  /// pre-activations, all times p where there is a combine weight.
  struct Units {
    let hidden: Matrix
    let up: Matrix?
    let dhidden: Matrix
  }

  /// Row by row, each as long as it is in the nearest cache.
  /// - Parameter tape: where the pre-activations are, if not in the units.
  func activationBackward(
    _ units: Units, from tape: Tape?, _ dy: Matrix, _ combine: (p: Matrix, dp: Matrix)?,
    _ accumulate: Bool, on workers: Workers
  ) {
    workers.forEachChunk(of: dy.rows, size: Self.rowsPerTask) { rows in
      for i in rows {
        if let tape {
          copyRow(tape.hidden.row(i), into: units.hidden.row(i))
          if let up = units.up, let kept = tape.up { copyRow(kept.row(i), into: up.row(i)) }
        }
        var inner = activationBackward(units, i, weight: combine?.p[i, 0])
        if let (_, dp) = combine {
          if let b2 { inner += dot(dy.row(i), b2.row(0)) }
          dp[i, 0] = accumulate ? dp[i, 0] + inner : inner
        }
      }
    }
  }

  /// One row; returns the inner product of what enters W2 with its gradient.
  private func activationBackward(_ units: Units, _ i: Int, weight: Float?) -> Float {
    let (hidden, dhidden) = (units.hidden.row(i), units.dhidden.row(i))
    if let up = units.up {
      return activation.backward(gate: hidden, up: up.row(i), dhidden, weight: weight ?? 1)
    }
    guard activation == .relu else {
      return activation.backward(hidden, dhidden, weight: weight ?? 1)
    }
    reluBoth(hidden, dhidden)
    guard let weight else { return 0 }
    let inner = dot(hidden, dhidden)
    scaleRow(weight, hidden)
    scaleRow(weight, dhidden)
    return inner
  }

  func parameterGradients(
    _ h: Matrix, _ dy: Matrix, _ p: Matrix?, _ units: Units, _ gradients: Gradients,
    on workers: Workers
  ) {
    let accumulate = gradients.accumulateWeights
    matmul(
      units.hidden, dy, transposeA: true, into: gradients.dw2, accumulate: accumulate, on: workers)
    matmul(
      units.dhidden, h, transposeA: true, into: gradients.dw1, accumulate: accumulate, on: workers)
    if let up = units.up, let dw3 = gradients.dw3 {
      matmul(up, h, transposeA: true, into: dw3, accumulate: accumulate, on: workers)
    }
    if let db1 = gradients.db1 {
      sumColumns(units.dhidden, into: db1, accumulate: accumulate, on: workers)
    }
    if let db2 = gradients.db2 {
      sumColumns(dy, weights: p, into: db2, accumulate: accumulate, on: workers)
    }
  }
}

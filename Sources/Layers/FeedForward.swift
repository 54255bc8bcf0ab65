package import Kernels

/// y = relu(h W1^T) W2, an expert or a dense sublayer, without biases.
///
/// Legend: N rows (tokens), D model width, F hidden units. Both weights are [F, D] (W2 is stored
/// transposed), so a slice of hidden units is contiguous in both, and y is a sum over slices: call
/// forward and backward once per slice, in a fixed order, with `accumulate` from the second on.
package enum FeedForward {
  /// h_ND -> y_ND, overwritten or added to; `hidden_NF` is scratch.
  package static func forward(
    _ h: Matrix, w1: Matrix, w2: Matrix, hidden: Matrix, into y: Matrix, accumulate: Bool,
    on workers: Workers
  ) {
    checkShapes(h, w1, w2, hidden, y)
    matmul(h, w1, transposeB: true, into: hidden, on: workers)
    reluForward(hidden, on: workers)
    matmul(hidden, w2, into: y, accumulate: accumulate, on: workers)
  }

  /// Where the gradients of one call go. `dweights` are overwritten or added to as a pair.
  package struct Gradients: Sendable {
    /// dL/dh, [N, D].
    package let dh: Matrix
    package let dw1: Matrix
    package let dw2: Matrix
    /// Add to dh and dp instead of overwriting: from the second slice on.
    package let accumulateInput: Bool
    /// Add to dw1 and dw2: for dense sublayers, whose gradients live over all micro-batches.
    package let accumulateWeights: Bool

    package init(
      dh: Matrix, dw1: Matrix, dw2: Matrix, accumulateInput: Bool, accumulateWeights: Bool
    ) {
      (self.dh, self.dw1, self.dw2) = (dh, dw1, dw2)
      self.accumulateInput = accumulateInput
      self.accumulateWeights = accumulateWeights
    }
  }

  /// The gradients of y for dy_ND.
  ///
  /// `combine` is for experts: row i of the output was p[i] * y[i], `dy` is the gradient of that,
  /// and dp[i] = <dy[i], y[i]> comes out without y, as <hidden[i], dy[i] W2^T>. p and dp are [N,
  /// 1]. The hidden units are computed again; `hidden` and `dhidden`, [N, F], are scratch.
  package static func backward(
    _ h: Matrix, w1: Matrix, w2: Matrix, dy: Matrix, combine: (p: Matrix, dp: Matrix)?,
    hidden: Matrix, dhidden: Matrix, into gradients: Gradients, on workers: Workers
  ) {
    checkShapes(h, w1, w2, hidden, dy)
    precondition(dhidden.rows == h.rows && dhidden.columns == w1.rows, "scratch is [N, F]")
    matmul(h, w1, transposeB: true, into: hidden, on: workers)
    reluForward(hidden, on: workers)
    matmul(dy, w2, transposeB: true, into: dhidden, on: workers)
    reluBackward(output: hidden, dhidden, on: workers)
    if let (p, dp) = combine {
      weigh(hidden, dhidden, p: p, dp: dp, accumulate: gradients.accumulateInput, on: workers)
    }
    matmul(
      hidden, dy, transposeA: true, into: gradients.dw2, accumulate: gradients.accumulateWeights,
      on: workers)
    matmul(
      dhidden, h, transposeA: true, into: gradients.dw1, accumulate: gradients.accumulateWeights,
      on: workers)
    matmul(dhidden, w1, into: gradients.dh, accumulate: gradients.accumulateInput, on: workers)
  }

  /// dp (+)= <hidden, dhidden> by row, then both rows times p: what remains sees the weighted
  /// output.
  private static func weigh(
    _ hidden: Matrix, _ dhidden: Matrix, p: Matrix, dp: Matrix, accumulate: Bool,
    on workers: Workers
  ) {
    precondition(p.rows == hidden.rows && p.columns == 1, "one combine weight per row")
    precondition(dp.rows == hidden.rows && dp.columns == 1, "one gradient of it per row")
    workers.forEachChunk(of: hidden.rows, size: 32) { rows in
      for i in rows {
        let inner = dot(hidden.row(i), dhidden.row(i))
        dp[i, 0] = accumulate ? dp[i, 0] + inner : inner
        scaleRow(p[i, 0], hidden.row(i))
        scaleRow(p[i, 0], dhidden.row(i))
      }
    }
  }

  private static func checkShapes(
    _ h: Matrix, _ w1: Matrix, _ w2: Matrix, _ hidden: Matrix, _ y: Matrix
  ) {
    precondition(w1.columns == h.columns, "W1 is [F, D]")
    precondition(w2.rows == w1.rows && w2.columns == w1.columns, "W2 is stored as [F, D]")
    precondition(hidden.rows == h.rows && hidden.columns == w1.rows, "scratch is [N, F]")
    precondition(y.rows == h.rows && y.columns == h.columns, "output is [N, D]")
  }
}

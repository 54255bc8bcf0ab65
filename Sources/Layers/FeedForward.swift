package import Kernels

/// y = f(h W1^T + b1) W2 + b2, an expert or a dense sublayer; gated, with a third projection, y =
/// (f(h W1^T + b1) * h W3^T) W2 + b2. Biases are optional.
///
/// Legend: N rows (tokens), D model width, F hidden units. All weights are [F, D] (W2 is stored
/// transposed), so a slice of hidden units is contiguous in each, and y is a sum over slices: call
/// forward and backward once per slice, in a fixed order, with `accumulate` from the second on and
/// b2 in one of them only. b1 is [1, F], b2 [1, D].
///
/// Scratch is `hidden`, [N, F], forward, and `dhidden` of that size with it backward; gated, both
/// take a further one, `up`. With a `Tape` the hidden units of the forward pass stay there, and the
/// backward pass has no need to compute them again.
package struct FeedForward: Sendable {
  package let activation: Activation
  let w1: Matrix
  let w2: Matrix
  let w3: Matrix?
  let b1: Matrix?
  let b2: Matrix?

  package init(
    _ activation: Activation = .relu, w1: Matrix, w2: Matrix, w3: Matrix? = nil,
    b1: Matrix? = nil, b2: Matrix? = nil
  ) {
    precondition(w2.rows == w1.rows && w2.columns == w1.columns, "W2 is stored as [F, D]")
    if let w3 {
      precondition(w3.rows == w1.rows && w3.columns == w1.columns, "W3 is [F, D]")
    }
    if let b1 { precondition(b1.rows == 1 && b1.columns == w1.rows, "b1 is [1, F]") }
    if let b2 { precondition(b2.rows == 1 && b2.columns == w1.columns, "b2 is [1, D]") }
    self.activation = activation
    (self.w1, self.w2, self.w3, self.b1, self.b2) = (w1, w2, w3, b1, b2)
  }

  /// The hidden units of a forward pass for its backward pass, [N, F] each: before the activation, but
  /// for ReLU where the layer is not gated, whose output says as much.
  package struct Tape: Sendable {
    package let hidden: Matrix
    /// Where the layer is gated.
    package let up: Matrix?

    package init(hidden: Matrix, up: Matrix?) { (self.hidden, self.up) = (hidden, up) }

    package func rows(_ range: Range<Int>) -> Tape {
      Tape(hidden: hidden.rows(range), up: up?.rows(range))
    }
    package func columns(_ range: Range<Int>) -> Tape {
      Tape(hidden: hidden.columns(range), up: up?.columns(range))
    }
  }

  /// h_ND -> y_ND, overwritten or added to.
  /// - Parameter tape: filled for `backward`.
  package func forward(
    _ h: Matrix, hidden: Matrix, up: Matrix? = nil, keeping tape: Tape? = nil, into y: Matrix,
    accumulate: Bool, on workers: Workers
  ) {
    checkShapes(h, hidden, up, y)
    let units = tape ?? Tape(hidden: hidden, up: up)
    project(h, units, on: workers)
    let outer = isPlainRelu ? units.hidden : hidden
    workers.forEachChunk(of: outer.rows, size: Self.rowsPerTask) { rows in
      if tape != nil, !isPlainRelu { outer.rows(rows).copy(from: units.hidden.rows(rows)) }
      for i in rows {
        if let up = units.up {
          activation.forward(gate: outer.row(i), up: up.row(i))
        } else {
          activation.forward(outer.row(i))
        }
      }
    }
    matmul(outer, w2, into: y, accumulate: accumulate, on: workers)
    if let b2 { addRow(b2, to: y, on: workers) }
  }

  /// ReLU without a gate: what comes out of it is zero where what went in was not positive.
  var isPlainRelu: Bool { activation == .relu && w3 == nil }

  /// Where the gradients of one call go: one for each of the layer's tensors. Those of the weights
  /// and biases are overwritten or added to together.
  package struct Gradients: Sendable {
    /// dL/dh, [N, D].
    package let dh: Matrix
    package let dw1: Matrix
    package let dw2: Matrix
    package let dw3: Matrix?
    package let db1: Matrix?
    package let db2: Matrix?
    /// Add to dh and dp instead of overwriting: from the second slice on.
    package let accumulateInput: Bool
    /// Add to the gradients of weights and biases: for dense sublayers, whose gradients live over
    /// all micro-batches.
    package let accumulateWeights: Bool

    package init(
      dh: Matrix, dw1: Matrix, dw2: Matrix, dw3: Matrix? = nil, db1: Matrix? = nil,
      db2: Matrix? = nil, accumulateInput: Bool, accumulateWeights: Bool
    ) {
      (self.dh, self.dw1, self.dw2, self.dw3) = (dh, dw1, dw2, dw3)
      (self.db1, self.db2) = (db1, db2)
      self.accumulateInput = accumulateInput
      self.accumulateWeights = accumulateWeights
    }
  }

  /// The gradients of y for dy_ND.
  ///
  /// `combine` is for experts: row i of the output was p[i] * y[i], `dy` is the gradient of that,
  /// and dp[i] = <dy[i], y[i]> comes out without y, as <hidden[i], dy[i] W2^T> + <dy[i], b2>. p and
  /// dp are [N, 1].
  /// - Parameter tape: as `forward` left it; nil: the hidden units are computed again. It stays as it
  ///   is.
  package func backward(
    _ h: Matrix, dy: Matrix, combine: (p: Matrix, dp: Matrix)?, hidden: Matrix,
    up: Matrix? = nil, dhidden: Matrix, from tape: Tape? = nil, into gradients: Gradients,
    on workers: Workers
  ) {
    checkShapes(h, hidden, up, dy)
    checkPresence(gradients)
    precondition(dhidden.rows == h.rows && dhidden.columns == w1.rows, "scratch is [N, F]")
    if let (p, dp) = combine {
      precondition(p.rows == h.rows && p.columns == 1, "one combine weight per row")
      precondition(dp.rows == h.rows && dp.columns == 1, "one gradient of it per row")
    }
    if let tape {
      precondition(tape.hidden.rows == h.rows, "a tape of these rows")
      precondition((tape.up == nil) == (w3 == nil), "a tape of this layer")
    } else {
      project(h, Tape(hidden: hidden, up: up), on: workers)
    }
    matmul(dy, w2, transposeB: true, into: dhidden, on: workers)
    let units = Units(hidden: hidden, up: up, dhidden: dhidden)
    activationBackward(units, from: tape, dy, combine, gradients.accumulateInput, on: workers)
    parameterGradients(h, dy, combine?.p, units, gradients, on: workers)
    matmul(dhidden, w1, into: gradients.dh, accumulate: gradients.accumulateInput, on: workers)
    if let up, let w3 { matmul(up, w3, into: gradients.dh, accumulate: true, on: workers) }
  }

  static let rowsPerTask = 32

  /// The units before the activation: hidden = h W1^T + b1, up = h W3^T.
  private func project(_ h: Matrix, _ units: Tape, on workers: Workers) {
    matmul(h, w1, transposeB: true, into: units.hidden, on: workers)
    if let b1 { addRow(b1, to: units.hidden, on: workers) }
    if let up = units.up, let w3 { matmul(h, w3, transposeB: true, into: up, on: workers) }
  }

  private func checkShapes(_ h: Matrix, _ hidden: Matrix, _ up: Matrix?, _ y: Matrix) {
    precondition(w1.columns == h.columns, "W1 is [F, D]")
    precondition(hidden.rows == h.rows && hidden.columns == w1.rows, "scratch is [N, F]")
    precondition((up == nil) == (w3 == nil), "gated, a further scratch")
    if let up { precondition(up.rows == h.rows && up.columns == w1.rows, "scratch is [N, F]") }
    precondition(y.rows == h.rows && y.columns == h.columns, "output is [N, D]")
  }

  private func checkPresence(_ gradients: Gradients) {
    precondition((gradients.dw3 == nil) == (w3 == nil), "a gradient for W3 if there is one")
    precondition((gradients.db1 == nil) == (b1 == nil), "a gradient for b1 if there is one")
    precondition((gradients.db2 == nil) == (b2 == nil), "a gradient for b2 if there is one")
  }
}

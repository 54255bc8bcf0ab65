package import Kernels

/// y = x / sqrt(mean of x^2 + epsilon) * gain over each row (Zhang and Sennrich, "Root mean square
/// layer normalization", 2019), or over each of `groups` runs of columns with one gain for all of
/// them: the heads of queries or keys.
///
/// Legend: N rows, D columns = groups * G, gain [1, G].
package struct RMSNorm: Sendable {
  package let epsilon: Float
  package let groups: Int

  private static let rowsPerTask = 32
  /// Of the backward pass: each leaves one row of sums.
  private static let rowsPerSum = 64

  package init(epsilon: Float, groups: Int = 1) {
    precondition(epsilon > 0, "epsilon keeps the row of zeros finite")
    precondition(groups > 0, "at least one group")
    (self.epsilon, self.groups) = (epsilon, groups)
  }

  /// x_ND -> y_ND, which may be the same matrix.
  package func forward(_ x: Matrix, gain: Matrix, into y: Matrix, on workers: Workers) {
    checkShapes(x, gain)
    precondition(y.rows == x.rows, "as many rows out as in")
    precondition(y.columns == x.columns, "as many columns out as in")
    workers.forEachChunk(of: x.rows, size: Self.rowsPerTask) { rows in
      let gain = gain.row(0)
      for i in rows {
        let (source, target) = (x.row(i), y.row(i))
        for group in 0..<groups {
          normalise(
            source.part(columns(group, gain.count)), gain,
            into: target.part(columns(group, gain.count)))
        }
      }
    }
  }

  /// dy_ND -> dx_ND (overwritten, or added to), dgain += [1, G]. The roots are computed again. `dx`
  /// must not overlap `dy`. Takes G / 16 bytes a row of scratch memory: sums of 64 rows, and the groups
  /// of each, in order, which are added in order.
  package func backward(
    _ x: Matrix, gain: Matrix, dy: Matrix, dx: Matrix, accumulate: Bool, dgain: Matrix,
    on workers: Workers
  ) {
    checkShapes(x, gain, dgain)
    precondition(dy.rows == x.rows && dx.rows == x.rows, "as many rows of gradients")
    precondition(dy.columns == x.columns && dx.columns == x.columns, "as many columns")
    let sums = Matrix(
      rows: (x.rows + Self.rowsPerSum - 1) / Self.rowsPerSum, columns: gain.columns)
    workers.forEachChunk(of: x.rows, size: Self.rowsPerSum) { rows in
      let (gain, sums) = (gain.row(0), sums.row(rows.lowerBound / Self.rowsPerSum))
      for i in rows {
        let (value, dy, dx) = (x.row(i), dy.row(i), dx.row(i))
        for group in 0..<groups {
          let range = columns(group, gain.count)
          let inverse = inputGradient(
            value.part(range), gain, dy.part(range), dx.part(range), accumulate)
          addGainGradient(value.part(range), inverse, dy.part(range), to: sums)
        }
      }
    }
    sumColumns(sums, into: dgain, accumulate: true, on: workers)
  }

  private func checkShapes(_ x: Matrix, _ vectors: Matrix...) {
    precondition(x.columns > 0, "a row has columns")
    precondition(x.columns % groups == 0, "groups of one width")
    for vector in vectors {
      precondition(vector.rows == 1, "the gain is one row")
      precondition(vector.columns == x.columns / groups, "one gain per column of a group")
    }
  }

  private func columns(_ group: Int, _ width: Int) -> Range<Int> {
    group * width..<(group + 1) * width
  }

  private func inverseRoot(_ x: borrowing Row) -> Float {
    1 / (sumOfSquares(x, around: 0) / Float(x.count) + epsilon).squareRoot()
  }

  private func normalise(_ x: borrowing Row, _ gain: borrowing Row, into y: borrowing Row) {
    precondition(x.count == y.count && gain.count == y.count)
    let inverse = inverseRoot(x)
    for j in 0..<y.count { y[j] = x[j] * inverse * gain[j] }
  }

  /// With u = x * inverse and g = gain * dy: dx = inverse (g - u mean(g u)). Returns the inverse.
  private func inputGradient(
    _ x: borrowing Row, _ gain: borrowing Row, _ dy: borrowing Row, _ dx: borrowing Row,
    _ accumulate: Bool
  ) -> Float {
    precondition(gain.count == dx.count && x.count == dx.count && dy.count == dx.count)
    let inverse = inverseRoot(x)
    let along = gainedSum(x, gain, dy) * inverse * inverse / Float(x.count)
    for j in 0..<dx.count {
      let value = inverse * (gain[j] * dy[j]).addingProduct(-along, x[j])
      dx[j] = accumulate ? dx[j] + value : value
    }
    return inverse
  }

  /// Sum of gain * dy * x.
  private func gainedSum(
    _ x: borrowing Row, _ gain: borrowing Row, _ dy: borrowing Row
  ) -> Float {
    var total = SIMD8<Float>()
    var j = 0
    while j &+ 8 <= x.count {
      total.addProduct(gain.load8(j) * dy.load8(j), x.load8(j))
      j &+= 8
    }
    if j < x.count {
      let g = gain.loadTail(j, filler: 0) * dy.loadTail(j, filler: 0)
      total.addProduct(g, x.loadTail(j, filler: 0))
    }
    return sumLanes(total)
  }

  private func addGainGradient(
    _ x: borrowing Row, _ inverse: Float, _ dy: borrowing Row, to sum: borrowing Row
  ) {
    precondition(x.count == sum.count && dy.count == sum.count)
    for j in 0..<sum.count { sum[j] = sum[j].addingProduct(dy[j], x[j] * inverse) }
  }
}

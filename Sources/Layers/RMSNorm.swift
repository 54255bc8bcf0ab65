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
  /// must not overlap `dy`. Takes 4 bytes a row and group of scratch memory.
  package func backward(
    _ x: Matrix, gain: Matrix, dy: Matrix, dx: Matrix, accumulate: Bool, dgain: Matrix,
    on workers: Workers
  ) {
    checkShapes(x, gain, dgain)
    precondition(dy.rows == x.rows && dx.rows == x.rows, "as many rows of gradients")
    precondition(dy.columns == x.columns && dx.columns == x.columns, "as many columns")
    let inverses = Matrix(rows: x.rows, columns: groups)
    workers.forEachChunk(of: x.rows, size: Self.rowsPerTask) { rows in
      let gain = gain.row(0)
      for i in rows {
        let (value, dy, dx) = (x.row(i), dy.row(i), dx.row(i))
        for group in 0..<groups {
          let range = columns(group, gain.count)
          inverses[i, group] = inputGradient(
            value.part(range), gain, dy.part(range), dx.part(range), accumulate)
        }
      }
    }
    gainGradient(x, inverses, dy, dgain, on: workers)
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
    let inverse = inverseRoot(x)
    for j in 0..<y.count { y[j] = x[j] * inverse * gain[j] }
  }

  /// With u = x * inverse and g = gain * dy: dx = inverse (g - u mean(g u)). Returns the inverse.
  private func inputGradient(
    _ x: borrowing Row, _ gain: borrowing Row, _ dy: borrowing Row, _ dx: borrowing Row,
    _ accumulate: Bool
  ) -> Float {
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

  /// Each task owns a strip of the gain and adds rows, and the groups of a row, in order. The strip
  /// of a narrow gain is one cache line, so that there is a task for several workers.
  private func gainGradient(
    _ x: Matrix, _ inverses: Matrix, _ dy: Matrix, _ dgain: Matrix, on workers: Workers
  ) {
    workers.forEachChunk(of: dgain.columns, size: groups == 1 ? 64 : 16) { strip in
      let all = dgain.row(0)
      let target = all.part(strip)
      for i in 0..<x.rows {
        let (value, gradient) = (x.row(i), dy.row(i))
        for group in 0..<groups {
          let first = group * dgain.columns
          let range = first + strip.lowerBound..<first + strip.upperBound
          let inverse = inverses[i, group]
          let (u, d) = (value.part(range), gradient.part(range))
          for j in 0..<target.count {
            target[j] = target[j].addingProduct(d[j], u[j] * inverse)
          }
        }
      }
    }
  }
}

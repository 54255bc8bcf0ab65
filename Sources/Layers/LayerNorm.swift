package import Kernels

/// y = (x - mean) / sqrt(variance + epsilon) * gain + bias over each row (Ba, Kiros and Hinton,
/// "Layer normalization", 2016). Legend: N rows, D columns.
package struct LayerNorm: Sendable {
  package let epsilon: Float

  package init(epsilon: Float = 1e-5) { self.epsilon = epsilon }

  private static let rowsPerTask = 32
  private static let columnsPerTask = 64

  /// x_ND -> y_ND, which may be the same matrix; gain and bias are [1, D].
  package func forward(
    _ x: Matrix, gain: Matrix, bias: Matrix, into y: Matrix, on workers: Workers
  ) {
    checkShapes(x, gain, bias)
    precondition(y.rows == x.rows, "as many rows out as in")
    precondition(y.columns == x.columns, "as many columns out as in")
    workers.forEachChunk(of: x.rows, size: Self.rowsPerTask) { rows in
      let (gain, bias) = (gain.row(0), bias.row(0))
      for i in rows {
        let (source, target) = (x.row(i), y.row(i))
        let (mean, inverse) = statistics(source)
        for j in 0..<target.count {
          target[j] = bias[j].addingProduct((source[j] - mean) * inverse, gain[j])
        }
      }
    }
  }

  /// dy_ND -> dx_ND (overwritten, or added to), dgain += and dbias += [1, D]. The statistics of x
  /// are computed again. `dx` must not overlap `dy`. Takes 8 bytes a row of scratch memory.
  package func backward(
    _ x: Matrix, gain: Matrix, dy: Matrix, dx: Matrix, accumulate: Bool, dgain: Matrix,
    dbias: Matrix, on workers: Workers
  ) {
    checkShapes(x, gain, dgain, dbias)
    precondition(dy.rows == x.rows && dx.rows == x.rows, "as many rows of gradients")
    precondition(dy.columns == x.columns && dx.columns == x.columns, "as many columns")
    let moments = Matrix(rows: x.rows, columns: 2)
    workers.forEachChunk(of: x.rows, size: Self.rowsPerTask) { rows in
      let gain = gain.row(0)
      for i in rows {
        let (mean, inverse) = statistics(x.row(i))
        (moments[i, 0], moments[i, 1]) = (mean, inverse)
        inputGradient(x.row(i), mean, inverse, gain, dy.row(i), dx.row(i), accumulate)
      }
    }
    parameterGradients(x, moments, dy, dgain: dgain, dbias: dbias, on: workers)
  }

  private func checkShapes(_ x: Matrix, _ vectors: Matrix...) {
    precondition(x.columns > 0, "a row has columns")
    for vector in vectors {
      precondition(vector.rows == 1, "gain and bias are one row")
      precondition(vector.columns == x.columns, "one gain and bias per column")
    }
  }

  private func statistics(_ x: borrowing Row) -> (mean: Float, inverse: Float) {
    let mean = sum(x) / Float(x.count)
    let variance = sumOfSquares(x, around: mean) / Float(x.count)
    return (mean, 1 / (variance + epsilon).squareRoot())
  }

  /// With u = (x - mean) * inverse and g = gain * dy: dx = inverse (g - mean(g) - u mean(g u)).
  private func inputGradient(
    _ x: borrowing Row, _ mean: Float, _ inverse: Float, _ gain: borrowing Row,
    _ dy: borrowing Row, _ dx: borrowing Row, _ accumulate: Bool
  ) {
    let (total, along) = gainedSums(x, mean, inverse, gain, dy)
    let (a, b) = (total / Float(x.count), along / Float(x.count))
    for j in 0..<dx.count {
      let u = (x[j] - mean) * inverse
      let value = inverse * (gain[j] * dy[j] - a).addingProduct(-u, b)
      dx[j] = accumulate ? dx[j] + value : value
    }
  }

  /// Sum of g, and of g u.
  private func gainedSums(
    _ x: borrowing Row, _ mean: Float, _ inverse: Float, _ gain: borrowing Row,
    _ dy: borrowing Row
  ) -> (Float, Float) {
    var (total, along) = (SIMD8<Float>(), SIMD8<Float>())
    var j = 0
    while j &+ 8 <= x.count {
      let g = gain.load8(j) * dy.load8(j)
      total += g
      along.addProduct(g, (x.load8(j) - mean) * inverse)
      j &+= 8
    }
    if j < x.count {
      let g = gain.loadTail(j, filler: 0) * dy.loadTail(j, filler: 0)
      total += g
      along.addProduct(g, (x.loadTail(j, filler: 0) - mean) * inverse)
    }
    return (sumLanes(total), sumLanes(along))
  }

  /// Each task owns a strip of columns and adds the rows in order.
  private func parameterGradients(
    _ x: Matrix, _ moments: Matrix, _ dy: Matrix, dgain: Matrix, dbias: Matrix,
    on workers: Workers
  ) {
    workers.forEachChunk(of: x.columns, size: Self.columnsPerTask) { columns in
      let (x, dy) = (x.columns(columns), dy.columns(columns))
      let (gainStrip, biasStrip) = (dgain.columns(columns), dbias.columns(columns))
      let (dgain, dbias) = (gainStrip.row(0), biasStrip.row(0))
      for i in 0..<x.rows {
        let (mean, inverse) = (moments[i, 0], moments[i, 1])
        let (value, gradient) = (x.row(i), dy.row(i))
        for j in 0..<dgain.count {
          dgain[j] = dgain[j].addingProduct(gradient[j], (value[j] - mean) * inverse)
          dbias[j] += gradient[j]
        }
      }
    }
  }
}

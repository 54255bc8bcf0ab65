import Glibc

/// Slow twins of the kernels: plain loops in Double, read once and believed. Tests compare with
/// them.
package enum Reference {
  /// op(a) op(b), [m, n] in row order.
  package static func matmul(
    _ a: Matrix, _ b: Matrix, transposeA: Bool = false, transposeB: Bool = false
  ) -> [Double] {
    let (m, k) = transposeA ? (a.columns, a.rows) : (a.rows, a.columns)
    let n = transposeB ? b.rows : b.columns
    var c: [Double] = []
    for i in 0..<m {
      for j in 0..<n {
        var sum = 0.0
        for l in 0..<k {
          sum +=
            Double(transposeA ? a[l, i] : a[i, l]) * Double(transposeB ? b[j, l] : b[l, j])
        }
        c.append(sum)
      }
    }
    return c
  }

  package static func dot(_ x: [Float], _ y: [Float]) -> Double {
    zip(x, y).reduce(0) { $0 + Double($1.0) * Double($1.1) }
  }

  package static func softmax(_ x: [Float]) -> [Double] {
    let maximum = Double(x.max() ?? 0)
    let powers = x.map { exp(Double($0) - maximum) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
  }

  /// dx for y = softmax(x).
  package static func softmaxBackward(output y: [Double], _ dy: [Double]) -> [Double] {
    let inner = zip(y, dy).reduce(0) { $0 + $1.0 * $1.1 }
    return zip(y, dy).map { $0 * ($1 - inner) }
  }

  /// e^x, correctly rounded but for the rarest cases.
  package static func exponential(_ x: Float) -> Float { Float(exp(Double(x))) }
}

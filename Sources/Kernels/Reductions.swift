/// Sum of x[j] y[j] over one row: four accumulators of eight lanes, added in a fixed order.
@inlinable
package func dot(_ x: borrowing Row, _ y: borrowing Row) -> Float {
  precondition(x.count == y.count, "rows of one length")
  var (a, b, c, d) = (SIMD8<Float>(), SIMD8<Float>(), SIMD8<Float>(), SIMD8<Float>())
  var j = 0
  while j &+ 32 <= x.count {
    a.addProduct(x.load8(j), y.load8(j))
    b.addProduct(x.load8(j &+ 8), y.load8(j &+ 8))
    c.addProduct(x.load8(j &+ 16), y.load8(j &+ 16))
    d.addProduct(x.load8(j &+ 24), y.load8(j &+ 24))
    j &+= 32
  }
  while j &+ 8 <= x.count {
    a.addProduct(x.load8(j), y.load8(j))
    j &+= 8
  }
  if j < x.count { b.addProduct(x.loadTail(j, filler: 0), y.loadTail(j, filler: 0)) }
  return sumLanes((a + b) + (c + d))
}

/// Sum over one row, in the order of `dot`.
@inlinable
package func sum(_ x: borrowing Row) -> Float {
  var (a, b) = (SIMD8<Float>(), SIMD8<Float>())
  var j = 0
  while j &+ 16 <= x.count {
    a += x.load8(j)
    b += x.load8(j &+ 8)
    j &+= 16
  }
  while j &+ 8 <= x.count {
    a += x.load8(j)
    j &+= 8
  }
  if j < x.count { b += x.loadTail(j, filler: 0) }
  return sumLanes(a + b)
}

/// Sum of (x[j] - centre)^2 over one row.
@inlinable
package func sumOfSquares(_ x: borrowing Row, around centre: Float) -> Float {
  var (a, b) = (SIMD8<Float>(), SIMD8<Float>())
  var j = 0
  while j &+ 16 <= x.count {
    let (first, second) = (x.load8(j) - centre, x.load8(j &+ 8) - centre)
    a.addProduct(first, first)
    b.addProduct(second, second)
    j &+= 16
  }
  while j &+ 8 <= x.count {
    let first = x.load8(j) - centre
    a.addProduct(first, first)
    j &+= 8
  }
  if j < x.count {
    let last = x.loadTail(j, filler: centre) - centre
    b.addProduct(last, last)
  }
  return sumLanes(a + b)
}

/// The eight lanes added as a tree.
@inlinable
package func sumLanes(_ v: SIMD8<Float>) -> Float {
  let four = v.lowHalf + v.highHalf
  let two = four.lowHalf + four.highHalf
  return two.x + two.y
}

/// The sum of the rows of x, each times its weight in `weights`, [rows, 1], overwrites `target`,
/// [1, columns], or is added to it. Each task owns a strip of columns and adds the rows in
/// order.
package func sumColumns(
  _ x: Matrix, weights: Matrix? = nil, into target: Matrix, accumulate: Bool, on workers: Workers
) {
  precondition(target.rows == 1, "the sum is one row")
  precondition(target.columns == x.columns, "as many columns")
  if let weights {
    precondition(weights.rows == x.rows && weights.columns == 1, "one weight per row")
  }
  workers.forEachStrip(of: x.columns) { strip in
    let (x, sum) = (x.columns(strip), target.columns(strip))
    if !accumulate { sum.fill(0) }
    for i in 0..<x.rows { axpy(weights?[i, 0] ?? 1, x.row(i), sum.row(0)) }
  }
}

/// Sum of the squares of all elements, as the norm of a gradient needs it: rows by `dot` in pieces
/// of 1024 columns, pieces added in Double, column of pieces by column, in row order.
package func sumOfSquares(_ x: Matrix, on workers: Workers = .inline) -> Double {
  let across = (x.columns + columnsPerPiece - 1) / columnsPerPiece
  var pieces = [Float](repeating: 0, count: across * x.rows)
  var span = pieces.mutableSpan
  let sums = Fence(&span)
  workers.forEachChunk(of: pieces.count, size: piecesPerTask) { range in
    var own = sums.mutable(range)
    for index in range {
      let start = index / x.rows * columnsPerPiece
      let piece = x.columns(start..<min(x.columns, start + columnsPerPiece)).row(index % x.rows)
      own[index - range.lowerBound] = dot(piece, piece)
    }
  }
  return pieces.reduce(0) { $0 + Double($1) }
}

private let columnsPerPiece = 1024
/// 128 KiB of floats where rows are long.
private let piecesPerTask = 32

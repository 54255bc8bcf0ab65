import Kernels

/// One task of `Attention`: one head of one sequence, on the scratch memory of one worker.
struct Head {
  let span: AttentionSpan
  let columns: Range<Int>
  let scale: Float
  let isCausal: Bool
  let scratch: (p: Matrix, dp: Matrix)

  init(
    _ attention: Attention, _ span: AttentionSpan, _ head: Int, _ isCausal: Bool,
    _ scratch: (p: Matrix, dp: Matrix)
  ) {
    self.span = span
    columns = head * attention.headWidth..<(head + 1) * attention.headWidth
    scale = 1 / Float(attention.headWidth).squareRoot()
    self.isCausal = isCausal
    self.scratch = scratch
  }

  /// The queries of the span, 64 at a time, counted from its first.
  var tiles: [Range<Int>] {
    stride(from: 0, to: span.queries.count, by: Attention.queriesPerTile).map {
      $0..<min($0 + Attention.queriesPerTile, span.queries.count)
    }
  }

  /// This head of some queries of the span.
  func queries(_ x: Matrix, _ tile: Range<Int>) -> Matrix {
    let first = span.queries.lowerBound
    return x.rows(first + tile.lowerBound..<first + tile.upperBound).columns(columns)
  }

  /// This head of all keys (or values) of the span.
  func keys(_ x: Matrix) -> Matrix { x.rows(span.keys).columns(columns) }

  /// How many keys query `query` of the span sees: always at least one.
  private func visible(_ query: Int) -> Int {
    isCausal ? query + 1 + span.keys.count - span.queries.count : span.keys.count
  }

  /// softmax(scale q k^T) of a tile, [queries, keys that its last query sees]; 0 for unseen keys.
  func probabilities(_ tile: Range<Int>, _ q: Matrix, _ k: Matrix) -> Matrix {
    let seen = visible(tile.upperBound - 1)
    let p = scratch.p.rows(0..<tile.count).columns(0..<seen)
    matmul(q, k.rows(0..<seen), transposeB: true, into: p, scale: scale, on: .inline)
    for i in 0..<tile.count {
      let count = visible(tile.lowerBound + i)
      let (shown, hidden) = (p.columns(0..<count), p.columns(count..<seen))
      softmax(shown.row(i))
      let unseen = hidden.row(i)
      for j in 0..<unseen.count { unseen[j] = 0 }
    }
    return p
  }

  /// p (dp - <p, dp>) by row, with dp = dcontext v^T: the gradient of scale q k^T.
  func scoreGradients(_ p: Matrix, _ dcontext: Matrix, _ v: Matrix) -> Matrix {
    let dp = scratch.dp.rows(0..<p.rows).columns(0..<p.columns)
    matmul(dcontext, v, transposeB: true, into: dp, on: .inline)
    for i in 0..<p.rows { softmaxBackward(output: p.row(i), dp.row(i)) }
    return dp
  }
}

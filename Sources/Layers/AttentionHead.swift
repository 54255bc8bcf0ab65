import Kernels

/// One head of one sequence, on the scratch memory of one worker of `Attention`.
struct Head {
  let span: AttentionSpan
  let columns: Range<Int>
  let keyColumns: Range<Int>
  let scale: Float
  let isCausal: Bool
  let index: Int
  let bias: RelativePositionBias?
  let scratch: (p: Matrix, dp: Matrix)

  init(
    _ attention: Attention, _ span: AttentionSpan, _ head: Int, _ isCausal: Bool,
    _ bias: RelativePositionBias?, _ scratch: (p: Matrix, dp: Matrix)
  ) {
    self.span = span
    let width = attention.headWidth
    let keyValueHead = head / (attention.heads / attention.keyValueHeads)
    columns = head * width..<(head + 1) * width
    keyColumns = keyValueHead * width..<(keyValueHead + 1) * width
    scale = attention.scale
    self.isCausal = isCausal
    index = head
    self.bias = bias
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

  /// What this head sees of all keys (or values) of the span.
  func keys(_ x: Matrix) -> Matrix { x.rows(span.keys).columns(keyColumns) }

  /// The number of the key that stands where query `query` of the span does. With fewer keys than
  /// queries the last queries are padding, and stand behind all keys.
  private func position(_ query: Int) -> Int {
    query + max(0, span.keys.count - span.queries.count)
  }

  /// How many keys query `query` of the span sees: always at least one.
  private func visible(_ query: Int) -> Int {
    isCausal ? min(position(query) + 1, span.keys.count) : span.keys.count
  }

  /// softmax(scale q k^T + bias) of a tile, [queries, keys that its last query sees]; 0 for unseen
  /// keys.
  func probabilities(_ tile: Range<Int>, _ q: Matrix, _ k: Matrix) -> Matrix {
    let seen = visible(tile.upperBound - 1)
    let p = scratch.p.rows(0..<tile.count).columns(0..<seen)
    matmul(q, k.rows(0..<seen), transposeB: true, into: p, scale: scale, on: .inline)
    for i in 0..<tile.count {
      let count = visible(tile.lowerBound + i)
      let (shown, hidden) = (p.columns(0..<count), p.columns(count..<seen))
      bias?.add(head: index, query: position(tile.lowerBound + i), to: shown.row(i))
      softmax(shown.row(i))
      let unseen = hidden.row(i)
      for j in 0..<unseen.count { unseen[j] = 0 }
    }
    return p
  }

  /// Overwrites this head of dq, adds to what it sees of dk and dv, and overwrites `dbuckets`, [1,
  /// buckets].
  func backward(
    _ q: Matrix, _ k: Matrix, _ v: Matrix, _ dcontext: Matrix, _ dq: Matrix, _ dk: Matrix,
    _ dv: Matrix, _ dbuckets: Matrix?
  ) {
    let (k, v, dk, dv) = (keys(k), keys(v), keys(dk), keys(dv))
    dbuckets?.fill(0)
    for tile in tiles {
      let (q, dcontext) = (queries(q, tile), queries(dcontext, tile))
      let p = probabilities(tile, q, k)
      let seen = 0..<p.columns
      matmul(p, dcontext, transposeA: true, into: dv.rows(seen), accumulate: true, on: .inline)
      let ds = scoreGradients(p, dcontext, v.rows(seen))
      matmul(ds, k.rows(seen), into: queries(dq, tile), scale: scale, on: .inline)
      matmul(
        ds, q, transposeA: true, into: dk.rows(seen), scale: scale, accumulate: true, on: .inline)
      if let bias, let dbuckets {
        bias.add(ds, firstQuery: position(tile.lowerBound), to: dbuckets, scratch: scratch.p)
      }
    }
  }

  /// p (dp - <p, dp>) by row, with dp = dcontext v^T: the gradient of the scores.
  private func scoreGradients(_ p: Matrix, _ dcontext: Matrix, _ v: Matrix) -> Matrix {
    let dp = scratch.dp.rows(0..<p.rows).columns(0..<p.columns)
    matmul(dcontext, v, transposeB: true, into: dp, on: .inline)
    for i in 0..<p.rows { softmaxBackward(output: p.row(i), dp.row(i)) }
    return dp
  }
}

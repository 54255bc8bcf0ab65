import Kernels

/// One head of one sequence, on the scratch memory of one worker of `Attention`.
struct Head {
  let span: AttentionSpan
  let columns: Range<Int>
  let keyColumns: Range<Int>
  let scale: Float
  let isCausal: Bool
  let window: Int?
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
    window = attention.window
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

  /// The same with the padding behind them.
  func rows(_ x: Matrix) -> Matrix { x.rows(span.rows).columns(keyColumns) }

  /// The number of the key that stands where query `query` of the span does. With fewer keys than
  /// queries the last queries are padding, and stand behind all keys.
  private func position(_ query: Int) -> Int {
    query + max(0, span.keys.count - span.queries.count)
  }

  /// The keys that query `query` of the span sees: none only where a window has left all behind.
  private func visible(_ query: Int) -> Range<Int> {
    guard isCausal else { return 0..<span.keys.count }
    let end = min(position(query) + 1, span.keys.count)
    let start = window.map { max(0, position(query) + 1 - $0) } ?? 0
    return min(start, end)..<end
  }

  /// The keys that queries of a tile see, from those of the first to those of the last.
  private func visible(_ tile: Range<Int>) -> Range<Int> {
    visible(tile.lowerBound).lowerBound..<visible(tile.upperBound - 1).upperBound
  }

  /// Overwrites this head of the context.
  func forward(_ q: Matrix, _ k: Matrix, _ v: Matrix, into context: Matrix) {
    let (keys, values) = (keys(k), keys(v))
    for tile in tiles {
      let p = probabilities(tile, queries(q, tile), keys)
      let target = queries(context, tile)
      matmul(p, values.rows(visible(tile)), into: target, on: .inline)
      for i in 0..<tile.count where visible(tile.lowerBound + i).isEmpty {
        mean(of: rows(v), into: target.row(i))
      }
    }
  }

  /// softmax(scale q k^T + bias) of a tile, [queries, keys that it sees]; 0 for those that a query
  /// does not see.
  private func probabilities(_ tile: Range<Int>, _ q: Matrix, _ k: Matrix) -> Matrix {
    let seen = visible(tile)
    let p = scratch.p.rows(0..<tile.count).columns(0..<seen.count)
    matmul(q, k.rows(seen), transposeB: true, into: p, scale: scale, on: .inline)
    for i in 0..<tile.count {
      let keys = visible(tile.lowerBound + i)
      let own = keys.lowerBound - seen.lowerBound..<keys.upperBound - seen.lowerBound
      if !own.isEmpty {
        let shown = p.columns(own).row(i)
        bias?.add(head: index, query: position(tile.lowerBound + i), to: shown)
        softmax(shown)
      }
      clear(p.row(i), 0..<own.lowerBound)
      clear(p.row(i), own.upperBound..<seen.count)
    }
    return p
  }

  private func clear(_ row: borrowing Row, _ columns: Range<Int>) {
    for j in columns { row[j] = 0 }
  }

  private func mean(of values: Matrix, into target: borrowing Row) {
    clear(target, 0..<target.count)
    for i in 0..<values.rows { axpy(1 / Float(values.rows), values.row(i), target) }
  }

  /// Overwrites this head of dq, adds to what it sees of dk and dv, and overwrites `dbuckets`, [1,
  /// buckets].
  func backward(
    _ q: Matrix, _ k: Matrix, _ v: Matrix, _ context: Matrix, _ dcontext: Matrix, _ dq: Matrix,
    _ dk: Matrix, _ dv: Matrix, _ dbuckets: Matrix?
  ) {
    let (k, v, dk, dv, all) = (keys(k), keys(v), keys(dk), keys(dv), rows(dv))
    dbuckets?.fill(0)
    for tile in tiles {
      let (q, context, dcontext) = (
        queries(q, tile), queries(context, tile), queries(dcontext, tile)
      )
      let (p, seen) = (probabilities(tile, q, k), visible(tile))
      matmul(p, dcontext, transposeA: true, into: dv.rows(seen), accumulate: true, on: .inline)
      for i in 0..<tile.count where visible(tile.lowerBound + i).isEmpty {
        for j in 0..<all.rows { axpy(1 / Float(all.rows), dcontext.row(i), all.row(j)) }
      }
      let ds = scoreGradients(p, context, dcontext, v.rows(seen))
      matmul(ds, k.rows(seen), into: queries(dq, tile), scale: scale, on: .inline)
      matmul(
        ds, q, transposeA: true, into: dk.rows(seen), scale: scale, accumulate: true, on: .inline)
      if let bias, let dbuckets {
        bias.add(ds, firstQuery: position(tile.lowerBound), to: dbuckets, scratch: scratch.p)
      }
    }
  }

  /// p (dp - <p, dp>) by row, with dp = dcontext v^T: the gradient of the scores. <p, dp> is <context,
  /// dcontext>, where keys are many the shorter sum (Dao et al., "FlashAttention", 2022).
  private func scoreGradients(
    _ p: Matrix, _ context: Matrix, _ dcontext: Matrix, _ v: Matrix
  ) -> Matrix {
    let dp = scratch.dp.rows(0..<p.rows).columns(0..<p.columns)
    matmul(dcontext, v, transposeB: true, into: dp, on: .inline)
    for i in 0..<p.rows {
      softmaxBackward(output: p.row(i), inner: dot(context.row(i), dcontext.row(i)), dp.row(i))
    }
    return dp
  }
}

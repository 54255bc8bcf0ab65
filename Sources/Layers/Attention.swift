package import Kernels

/// One sequence in a packed batch: its queries and its keys are runs of rows.
package struct AttentionSpan: Hashable, Sendable {
  package let queries: Range<Int>
  package let keys: Range<Int>

  package init(queries: Range<Int>, keys: Range<Int>) {
    (self.queries, self.keys) = (queries, keys)
  }
}

/// The core of multi-head attention over packed, ragged rows: context = softmax(q k^T / sqrt(H)) v
/// per sequence and head. The projections around it are the caller's.
///
/// Legend: queries [Tq, D], keys and values [Tk, D]; D = heads * H, head h in columns h H ..< (h+1)
/// H. A task is one (sequence, head), cut into 64 queries at a time, so scratch is [64, longest
/// keys], twice, per worker, allocated here; probabilities are computed again by the backward pass.
package struct Attention: Sendable {
  package let heads: Int
  package let headWidth: Int
  package let keysMax: Int
  package let workers: Workers
  /// Per worker: probabilities, then their gradients.
  let scratch: [(p: Matrix, dp: Matrix)]

  static let queriesPerTile = 64

  package init(heads: Int, headWidth: Int, keysMax: Int, workers: Workers) {
    precondition(heads > 0, "at least one head")
    precondition(headWidth > 0, "a head has columns")
    precondition(keysMax > 0, "a longest sequence")
    self.heads = heads
    self.headWidth = headWidth
    self.keysMax = keysMax
    self.workers = workers
    scratch = (0..<workers.count).map { _ in
      let both = FloatBuffer(count: 2 * Self.queriesPerTile * keysMax)
      return (
        both.matrix(rows: Self.queriesPerTile, columns: keysMax),
        both.matrix(
          rows: Self.queriesPerTile, columns: keysMax, offset: Self.queriesPerTile * keysMax)
      )
    }
  }

  /// Bytes of scratch memory that `init` takes for these limits.
  package static func scratchByteCount(keysMax: Int, workers: Int) -> Int {
    2 * queriesPerTile * keysMax * workers * MemoryLayout<Float>.stride
  }

  /// q, k, v -> context [Tq, D]; rows of no span are left alone.
  ///
  /// `isCausal`: query i of a span sees its keys up to i + (keys - queries), so that the last query
  /// sees all of them; a span then has at least as many keys as queries.
  package func forward(
    _ q: Matrix, _ k: Matrix, _ v: Matrix, spans: [AttentionSpan], isCausal: Bool,
    into context: Matrix
  ) {
    check(q, k, v, spans, isCausal)
    precondition(context.rows == q.rows && context.columns == q.columns, "context is [Tq, D]")
    workers.forEach(spans.count * heads) { task, worker in
      let head = Head(self, spans[task / heads], task % heads, isCausal, scratch[worker])
      let (k, v) = (head.keys(k), head.keys(v))
      for tile in head.tiles {
        let p = head.probabilities(tile, head.queries(q, tile), k)
        matmul(p, v.rows(0..<p.columns), into: head.queries(context, tile), on: .inline)
      }
    }
  }

  /// dcontext [Tq, D] -> dq, dk, dv, overwritten in the rows of the spans. No two spans may share
  /// queries or keys.
  package func backward(
    _ q: Matrix, _ k: Matrix, _ v: Matrix, spans: [AttentionSpan], isCausal: Bool,
    dcontext: Matrix, dq: Matrix, dk: Matrix, dv: Matrix
  ) {
    check(q, k, v, spans, isCausal)
    precondition(dcontext.rows == q.rows && dcontext.columns == q.columns, "dcontext is [Tq, D]")
    precondition(dq.rows == q.rows && dq.columns == q.columns, "dq is [Tq, D]")
    precondition(dk.rows == k.rows && dk.columns == k.columns, "dk is [Tk, D]")
    precondition(dv.rows == k.rows && dv.columns == k.columns, "dv is [Tk, D]")
    assert(areDisjoint(spans.map(\.queries)), "queries of one span only")
    assert(areDisjoint(spans.map(\.keys)), "keys of one span only")
    workers.forEach(spans.count * heads) { task, worker in
      let head = Head(self, spans[task / heads], task % heads, isCausal, scratch[worker])
      let (k, v, dk, dv) = (head.keys(k), head.keys(v), head.keys(dk), head.keys(dv))
      dk.fill(0)
      dv.fill(0)
      for tile in head.tiles {
        let (q, dcontext) = (head.queries(q, tile), head.queries(dcontext, tile))
        let p = head.probabilities(tile, q, k)
        let seen = 0..<p.columns
        matmul(
          p, dcontext, transposeA: true, into: dv.rows(seen), accumulate: true, on: .inline)
        let ds = head.scoreGradients(p, dcontext, v.rows(seen))
        matmul(
          ds, k.rows(seen), into: head.queries(dq, tile), scale: head.scale, on: .inline)
        matmul(
          ds, q, transposeA: true, into: dk.rows(seen), scale: head.scale, accumulate: true,
          on: .inline)
      }
    }
  }

  private func check(
    _ q: Matrix, _ k: Matrix, _ v: Matrix, _ spans: [AttentionSpan], _ isCausal: Bool
  ) {
    precondition(q.columns == heads * headWidth, "q is [Tq, D]")
    precondition(k.columns == q.columns, "k is [Tk, D]")
    precondition(v.columns == q.columns && v.rows == k.rows, "v is [Tk, D]")
    for span in spans {
      precondition(span.queries.upperBound <= q.rows, "queries inside the batch")
      precondition(span.keys.upperBound <= k.rows, "keys inside the batch")
      precondition(!span.keys.isEmpty, "a query needs a key to look at")
      precondition(span.keys.count <= keysMax, "a sequence within the limit given at init")
      precondition(!isCausal || span.keys.count >= span.queries.count, "a key for each query")
    }
  }
}

private func areDisjoint(_ ranges: [Range<Int>]) -> Bool {
  let sorted = ranges.sorted { $0.lowerBound < $1.lowerBound }
  return zip(sorted, sorted.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound }
}

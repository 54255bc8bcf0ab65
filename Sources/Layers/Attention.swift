package import Kernels

/// One sequence in a packed batch: its queries and its keys are runs of rows.
package struct AttentionSpan: Hashable, Sendable {
  package let queries: Range<Int>
  package let keys: Range<Int>
  /// The keys and the padding behind them: what a query looks at whose window has no key left.
  package let rows: Range<Int>

  /// - Parameter rows: the keys alone, if not given.
  package init(queries: Range<Int>, keys: Range<Int>, rows: Range<Int>? = nil) {
    (self.queries, self.keys) = (queries, keys)
    self.rows = rows ?? keys
    precondition(self.rows.lowerBound == keys.lowerBound, "padding follows the keys")
    precondition(self.rows.upperBound >= keys.upperBound, "padding follows the keys")
  }
}

/// The core of multi-head attention over packed, ragged rows: context = softmax(scale q k^T + bias)
/// v per sequence and head. The projections around it are the caller's.
///
/// Legend: queries [Tq, D], keys and values [Tk, Dk]; D = heads * H, head h in columns h H ..<
/// (h+1) H; Dk = keyValueHeads * H, each shared by heads / keyValueHeads heads in a row. A task is
/// one (sequence, head), or backward one (sequence, key-value head); it is cut into 64 queries at a
/// time, so scratch is [64, longest keys], twice, per worker, allocated here; probabilities are
/// computed again by the backward pass.
package struct Attention: Sendable {
  package let heads: Int
  package let keyValueHeads: Int
  package let headWidth: Int
  package let scale: Float
  package let window: Int?
  package let keysMax: Int
  package let workers: Workers
  /// Per worker: probabilities, then their gradients.
  let scratch: [(p: Matrix, dp: Matrix)]

  static let queriesPerTile = 64

  /// - Parameters:
  ///   - keyValueHeads: as many as heads, if not given.
  ///   - scale: of the products; 1 / sqrt(headWidth) if not given.
  ///   - window: positions that a causal query sees, its own included; nil: all.
  package init(
    heads: Int, keyValueHeads: Int? = nil, headWidth: Int, scale: Float? = nil,
    window: Int? = nil, keysMax: Int, workers: Workers
  ) {
    precondition(heads > 0, "at least one head")
    precondition(headWidth > 0, "a head has columns")
    precondition(keysMax > 0, "a longest sequence")
    precondition(window.map { $0 > 0 } ?? true, "a query sees itself")
    (self.heads, self.window) = (heads, window)
    self.keyValueHeads = keyValueHeads ?? heads
    precondition(self.keyValueHeads > 0, "at least one key-value head")
    precondition(heads % self.keyValueHeads == 0, "as many heads for every key-value head")
    self.headWidth = headWidth
    self.scale = scale ?? 1 / Float(headWidth).squareRoot()
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
  /// sees all of them, and with a window no keys further back than that; with fewer keys than
  /// queries the last queries are padding. A query of padding whose window has left all keys behind
  /// looks at all rows of its sequence alike, as the softmax of a row of masks does. `bias` takes
  /// positions the same way.
  package func forward(
    _ q: Matrix, _ k: Matrix, _ v: Matrix, spans: [AttentionSpan], isCausal: Bool,
    bias: RelativePositionBias? = nil, into context: Matrix
  ) {
    check(q, k, v, spans, isCausal, bias)
    precondition(context.rows == q.rows && context.columns == q.columns, "context is [Tq, D]")
    let (q, k, v) = (q.views(for: workers), k.views(for: workers), v.views(for: workers))
    let context = context.views(for: workers)
    workers.forEach(spans.count * heads) { task, worker in
      let head = Head(
        self, spans[task / heads], task % heads, isCausal, bias, scratch[worker])
      head.forward(q[worker], k[worker], v[worker], into: context[worker])
    }
  }

  /// context as `forward` left it for the same spans, mask and bias, and dcontext [Tq, D] -> dq, dk, dv,
  /// overwritten in the rows of the spans. No two spans may share queries or keys. With a bias, dtable += the gradient of its table; that takes heads * buckets
  /// floats of scratch memory per span.
  ///
  /// The heads that share a key-value head are one task and add to its gradients in order.
  package func backward(
    _ q: Matrix, _ k: Matrix, _ v: Matrix, spans: [AttentionSpan], isCausal: Bool,
    bias: RelativePositionBias? = nil, context: Matrix, dcontext: Matrix, dq: Matrix, dk: Matrix,
    dv: Matrix, dtable: Matrix? = nil
  ) {
    check(q, k, v, spans, isCausal, bias)
    precondition(context.rows == q.rows && context.columns == q.columns, "context is [Tq, D]")
    precondition(dcontext.rows == q.rows && dcontext.columns == q.columns, "dcontext is [Tq, D]")
    precondition(dq.rows == q.rows && dq.columns == q.columns, "dq is [Tq, D]")
    precondition(dk.rows == k.rows && dk.columns == k.columns, "dk is [Tk, Dk]")
    precondition(dv.rows == k.rows && dv.columns == k.columns, "dv is [Tk, Dk]")
    precondition((dtable == nil) == (bias == nil), "a gradient of the bias if there is one")
    assert(areDisjoint(spans.map(\.queries)), "queries of one span only")
    assert(areDisjoint(spans.map(\.rows)), "keys of one span only")
    let dbuckets = bias.map { Matrix(rows: spans.count * heads, columns: $0.buckets) }
    let group = heads / keyValueHeads
    let (q, k, v) = (q.views(for: workers), k.views(for: workers), v.views(for: workers))
    let (dq, dk, dv) = (dq.views(for: workers), dk.views(for: workers), dv.views(for: workers))
    let (context, dcontext) = (context.views(for: workers), dcontext.views(for: workers))
    workers.forEach(spans.count * keyValueHeads) { task, worker in
      let span = task / keyValueHeads
      for member in 0..<group {
        let index = task % keyValueHeads * group + member
        let head = Head(self, spans[span], index, isCausal, bias, scratch[worker])
        if member == 0 {
          head.keys(dk[worker]).fill(0)
          head.rows(dv[worker]).fill(0)
        }
        let row = span * heads + index
        head.backward(
          q[worker], k[worker], v[worker], context[worker], dcontext[worker], dq[worker],
          dk[worker], dv[worker], dbuckets?.rows(row..<row + 1))
      }
    }
    if let bias, let dtable, let dbuckets { bias.add(dbuckets, to: dtable) }
  }

  private func check(
    _ q: Matrix, _ k: Matrix, _ v: Matrix, _ spans: [AttentionSpan], _ isCausal: Bool,
    _ bias: RelativePositionBias?
  ) {
    precondition(q.columns == heads * headWidth, "q is [Tq, D]")
    precondition(k.columns == keyValueHeads * headWidth, "k is [Tk, Dk]")
    precondition(v.columns == k.columns && v.rows == k.rows, "v is [Tk, Dk]")
    precondition(window == nil || isCausal && bias == nil, "a window of causal attention")
    if let bias {
      precondition(bias.heads == heads, "a bias for each head")
      precondition(bias.distanceMax >= keysMax, "a bias for each distance")
    }
    for span in spans {
      precondition(span.queries.upperBound <= q.rows, "queries inside the batch")
      precondition(span.rows.upperBound <= k.rows, "keys inside the batch")
      precondition(!span.keys.isEmpty, "a query needs a key to look at")
      precondition(span.keys.count <= keysMax, "a sequence within the limit given at init")
      if bias != nil {
        precondition(span.queries.count <= keysMax, "a position within the limit given at init")
      }
    }
  }
}

private func areDisjoint(_ ranges: [Range<Int>]) -> Bool {
  let sorted = ranges.sorted { $0.lowerBound < $1.lowerBound }
  return zip(sorted, sorted.dropFirst()).allSatisfy { $0.upperBound <= $1.lowerBound }
}

import Glibc
import Kernels
import Layers
import TestSupport
import Testing

@Suite struct AttentionTests {
  /// A batch of ragged sequences: Tq and Tk rows, `spans` within them.
  struct Case: CustomStringConvertible, Sendable {
    let description: String
    let heads, headWidth: Int
    let lengths: [(queries: Int, keys: Int)]
    let isCausal: Bool
    var keyValueHeads: Int? = nil
    var scale: Float? = nil
    var hasBias = false

    var spans: [AttentionSpan] {
      var (q, k) = (0, 0)
      return lengths.map { length in
        defer { (q, k) = (q + length.queries, k + length.keys) }
        return AttentionSpan(queries: q..<q + length.queries, keys: k..<k + length.keys)
      }
    }
    var queries: Int { lengths.reduce(0) { $0 + $1.queries } }
    var keys: Int { lengths.reduce(0) { $0 + $1.keys } }
    var width: Int { heads * headWidth }
    var keyWidth: Int { (keyValueHeads ?? heads) * headWidth }

    func inputs() -> (q: Matrix, k: Matrix, v: Matrix) {
      (
        testMatrix(queries, width, seed: 1, padding: 3), testMatrix(keys, keyWidth, seed: 2),
        testMatrix(keys, keyWidth, seed: 3)
      )
    }
    func attention(_ workers: Workers = .inline) -> Attention {
      Attention(
        heads: heads, keyValueHeads: keyValueHeads, headWidth: headWidth, scale: scale,
        keysMax: 200,
        workers: workers)
    }
    /// Few buckets, so that all of them have members.
    static let buckets = 8
    static let distanceOfLastBucket = 20
    let table = testMatrix(Self.buckets, 6, seed: 9)
    func bias() -> RelativePositionBias? {
      guard hasBias else { return nil }
      let bias = RelativePositionBias(
        heads: heads, buckets: Self.buckets, distanceOfLastBucket: Self.distanceOfLastBucket,
        isBidirectional: !isCausal, keysMax: 200)
      bias.expand(table.columns(0..<heads))
      return bias
    }
    func bias(_ head: Int, _ distance: Int) -> Double {
      let bucket = RelativePositionBias.bucket(
        distance, buckets: Self.buckets, last: Self.distanceOfLastBucket,
        isBidirectional: !isCausal)
      return hasBias ? Double(table[bucket, head]) : 0
    }
  }

  static let cases = [
    Case(
      description: "encoder", heads: 2, headWidth: 5, lengths: [(3, 3), (1, 1), (7, 7)],
      isCausal: false),
    Case(
      description: "decoder", heads: 3, headWidth: 4, lengths: [(4, 4), (9, 9)], isCausal: true),
    Case(description: "cross", heads: 2, headWidth: 8, lengths: [(5, 2), (2, 6)], isCausal: false),
    Case(description: "one new query", heads: 1, headWidth: 6, lengths: [(1, 5)], isCausal: true),
    Case(
      description: "shared keys", heads: 6, headWidth: 3, lengths: [(4, 4), (3, 5)],
      isCausal: true, keyValueHeads: 2),
    Case(
      description: "T5 encoder", heads: 3, headWidth: 4, lengths: [(1, 1), (30, 30)],
      isCausal: false, scale: 1, hasBias: true),
    Case(
      description: "T5 decoder", heads: 2, headWidth: 4, lengths: [(24, 24), (5, 5)],
      isCausal: true, scale: 1, hasBias: true),
    Case(
      description: "T5, new queries, shared keys", heads: 4, headWidth: 4,
      lengths: [(1, 22), (2, 7)], isCausal: true, keyValueHeads: 2, hasBias: true),
  ]
  /// More queries than a tile has.
  static let long = Case(
    description: "long", heads: 2, headWidth: 8, lengths: [(150, 150), (70, 90)], isCausal: true)
  static let longest = Case(
    description: "long, with everything", heads: 6, headWidth: 8, lengths: [(150, 150), (70, 90)],
    isCausal: true, keyValueHeads: 3, scale: 0.5, hasBias: true)

  /// Goal: the formula in Double. Tolerance: sums of at most 200 terms below 1 with weights that
  /// add to 1.
  @Test(arguments: cases + [long, longest]) func equalsTheFormula(example: Case) {
    let (q, k, v) = example.inputs()
    let context = Matrix(rows: example.queries, columns: example.width)
    example.attention().forward(
      q, k, v, spans: example.spans, isCausal: example.isCausal, bias: example.bias(),
      into: context)
    var worst = 0.0
    for span in example.spans {
      for head in 0..<example.heads {
        for i in span.queries {
          let expected = slowContext(example, span, head, i, q, k, v)
          for j in 0..<example.headWidth {
            let value = Double(context[i, head * example.headWidth + j])
            worst = max(worst, abs(value - expected[j]))
          }
        }
      }
    }
    #expect(worst < 2e-6)
  }

  private func slowContext(
    _ example: Case, _ span: AttentionSpan, _ head: Int, _ query: Int, _ q: Matrix, _ k: Matrix,
    _ v: Matrix
  ) -> [Double] {
    let columns = head * example.headWidth..<(head + 1) * example.headWidth
    let (seen, p) = slowProbabilities(example, span, head, query, q, k)
    let offset = keyOffset(example, head)
    return columns.map { column in
      zip(seen, p).reduce(0) { $0 + $1.1 * Double(v[$1.0, column + offset]) }
    }
  }

  /// From the columns of a head to those of its keys.
  private func keyOffset(_ example: Case, _ head: Int) -> Int {
    (head / (example.heads / (example.keyValueHeads ?? example.heads)) - head) * example.headWidth
  }

  private func slowProbabilities(
    _ example: Case, _ span: AttentionSpan, _ head: Int, _ query: Int, _ q: Matrix, _ k: Matrix
  ) -> (seen: Range<Int>, p: [Double]) {
    let columns = head * example.headWidth..<(head + 1) * example.headWidth
    let offset = keyOffset(example, head)
    let scale = Double(example.scale ?? 1 / Float(example.headWidth).squareRoot())
    let position = span.keys.upperBound - span.queries.upperBound + query
    let seen = example.isCausal ? span.keys.lowerBound..<position + 1 : span.keys
    let weights = seen.map { key in
      let product = columns.reduce(0.0) {
        $0 + Double(q[query, $1]) * Double(k[key, $1 + offset])
      }
      return exp(product * scale + example.bias(head, key - position))
    }
    let sum = weights.reduce(0, +)
    return (seen, weights.map { $0 / sum })
  }

  @Test(arguments: cases) func gradientsEqualFiniteDifferences(example: Case) {
    let (q, k, v) = example.inputs()
    let attention = example.attention()
    let dcontext = testMatrix(example.queries, example.width, seed: 4)
    let context = Matrix(rows: example.queries, columns: example.width)
    let (bias, table) = (example.bias(), example.table.columns(0..<example.heads))
    func loss() -> Double {
      bias?.expand(table)
      attention.forward(
        q, k, v, spans: example.spans, isCausal: example.isCausal, bias: bias, into: context)
      return inner(context, dcontext)
    }
    // Starting from garbage: the gradients are overwritten.
    let dq = testMatrix(example.queries, example.width, seed: 5)
    let dk = testMatrix(example.keys, example.keyWidth, seed: 6)
    let dv = testMatrix(example.keys, example.keyWidth, seed: 7)
    let dtable = Matrix(rows: Case.buckets, columns: example.heads)
    _ = loss()
    attention.backward(
      q, k, v, spans: example.spans, isCausal: example.isCausal, bias: bias, context: context,
      dcontext: dcontext, dq: dq, dk: dk, dv: dv, dtable: bias.map { _ in dtable })
    expectGradient(dtable, of: loss, withRespectTo: table, "dtable")
    expectGradient(dq, of: loss, withRespectTo: q, "dq")
    expectGradient(dk, of: loss, withRespectTo: k, "dk")
    expectGradient(dv, of: loss, withRespectTo: v, "dv")
  }

  /// Goal: what several sequences, tiles and calls add to the gradient of the table is the sum over
  /// all pairs, computed here in Double from the definition.
  @Test func tableGradientSumsOverTiles() {
    let example = Self.longest
    let (q, k, v) = example.inputs()
    let dcontext = testMatrix(example.queries, example.width, seed: 4)
    let (dq, dk, dv) = (
      Matrix(rows: example.queries, columns: example.width),
      Matrix(rows: example.keys, columns: example.keyWidth),
      Matrix(rows: example.keys, columns: example.keyWidth)
    )
    let dtable = Matrix(rows: Case.buckets, columns: example.heads)
    let context = Matrix(rows: example.queries, columns: example.width)
    for _ in 0..<2 {
      let attention = example.attention()
      attention.forward(
        q, k, v, spans: example.spans, isCausal: true, bias: example.bias(), into: context)
      attention.backward(
        q, k, v, spans: example.spans, isCausal: true, bias: example.bias(), context: context,
        dcontext: dcontext, dq: dq, dk: dk, dv: dv, dtable: dtable)
    }
    var expected = [Double](repeating: 0, count: Case.buckets * example.heads)
    for span in example.spans {
      for head in 0..<example.heads {
        for query in span.queries {
          for (distance, gradient) in slowScoreGradients(
            example, span, head, query, q, k, v, dcontext)
          {
            let bucket = RelativePositionBias.bucket(
              distance, buckets: Case.buckets, last: Case.distanceOfLastBucket,
              isBidirectional: false)
            expected[bucket * example.heads + head] += 2 * gradient
          }
        }
      }
    }
    #expect(zip(dtable.values, expected).allSatisfy { abs(Double($0) - $1) < 2e-5 })
  }

  /// The gradients of the scores of one query, by distance.
  private func slowScoreGradients(
    _ example: Case, _ span: AttentionSpan, _ head: Int, _ query: Int, _ q: Matrix, _ k: Matrix,
    _ v: Matrix, _ dcontext: Matrix
  ) -> [(distance: Int, gradient: Double)] {
    let columns = head * example.headWidth..<(head + 1) * example.headWidth
    let (seen, p) = slowProbabilities(example, span, head, query, q, k)
    let offset = keyOffset(example, head)
    let dp = seen.map { key in
      columns.reduce(0.0) { $0 + Double(dcontext[query, $1]) * Double(v[key, $1 + offset]) }
    }
    let mean = zip(p, dp).reduce(0) { $0 + $1.0 * $1.1 }
    let position = span.keys.upperBound - span.queries.upperBound + query
    return seen.indices.map { i in
      let j = i - seen.startIndex
      return (seen[i] - position, p[j] * (dp[j] - mean))
    }
  }

  /// Goal: the tiles of a long sequence give the gradients a single one would. With dcontext scaled
  /// down the loss stays near 1, as the tolerance wants; a few elements across both tiles suffice.
  @Test func gradientsCrossTiles() {
    let example = Case(
      description: "", heads: 1, headWidth: 2, lengths: [(70, 70)], isCausal: true)
    let (q, k, v) = example.inputs()
    let attention = example.attention()
    let dcontext = testMatrix(70, 2, seed: 8)
    let context = Matrix(rows: 70, columns: 2)
    func loss() -> Double {
      attention.forward(q, k, v, spans: example.spans, isCausal: true, into: context)
      return inner(context, dcontext)
    }
    let (dq, dk, dv) = (
      Matrix(rows: 70, columns: 2), Matrix(rows: 70, columns: 2), Matrix(rows: 70, columns: 2)
    )
    _ = loss()
    attention.backward(
      q, k, v, spans: example.spans, isCausal: true, context: context, dcontext: dcontext, dq: dq,
      dk: dk, dv: dv)
    expectGradient(dq, of: loss, withRespectTo: q, "dq")
    expectGradient(dk, of: loss, withRespectTo: k, "dk")
    expectGradient(dv, of: loss, withRespectTo: v, "dv")
  }

  @Test(arguments: [long, longest]) func sameBitsForAnyNumberOfWorkers(example: Case) {
    let (q, k, v) = example.inputs()
    let dcontext = testMatrix(example.queries, example.width, seed: 4)
    let results = [1, 2, 3].map { threads in
      let attention = example.attention(Workers(count: threads))
      let context = Matrix(rows: example.queries, columns: example.width)
      let (dq, dk, dv) = (
        Matrix(rows: example.queries, columns: example.width),
        Matrix(rows: example.keys, columns: example.keyWidth),
        Matrix(rows: example.keys, columns: example.keyWidth)
      )
      let (bias, dtable) = (example.bias(), Matrix(rows: Case.buckets, columns: example.heads))
      attention.forward(
        q, k, v, spans: example.spans, isCausal: true, bias: bias, into: context)
      attention.backward(
        q, k, v, spans: example.spans, isCausal: true, bias: bias, context: context,
        dcontext: dcontext, dq: dq, dk: dk, dv: dv, dtable: bias.map { _ in dtable })
      return [context, dq, dk, dv, dtable].flatMap(bits)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])
  }

  /// Goal: a query alone at the end of its keys sees what it saw in the whole sequence, with shared
  /// keys and a bias. Tolerance: products of other shapes.
  @Test func decodingContinuesASequence() {
    let whole = Case(
      description: "", heads: 4, headWidth: 4, lengths: [(30, 30)], isCausal: true,
      keyValueHeads: 2,
      hasBias: true)
    let (q, k, v) = whole.inputs()
    let (context, step) = (Matrix(rows: 30, columns: 16), Matrix(rows: 1, columns: 16))
    let (attention, bias) = (whole.attention(), whole.bias())
    attention.forward(q, k, v, spans: whole.spans, isCausal: true, bias: bias, into: context)
    for position in [0, 1, 17, 29] {
      attention.forward(
        q.rows(position..<position + 1), k, v,
        spans: [AttentionSpan(queries: 0..<1, keys: 0..<position + 1)], isCausal: true, bias: bias,
        into: step)
      let expected = context.rows(position..<position + 1).values
      #expect(zip(step.values, expected).allSatisfy { abs($0 - $1) < 1e-6 })
    }
  }

  /// Goal: what a causal query may not see does not change it, not by a bit.
  @Test func theFutureDoesNotShow() {
    let example = Self.cases[1]
    let (q, k, v) = example.inputs()
    let (before, after) = (
      Matrix(rows: 13, columns: example.width), Matrix(rows: 13, columns: example.width)
    )
    let attention = example.attention()
    attention.forward(q, k, v, spans: example.spans, isCausal: true, into: before)
    k.rows(12..<13).fill(7)
    v.rows(12..<13).fill(-7)
    attention.forward(q, k, v, spans: example.spans, isCausal: true, into: after)
    #expect(bits(after.rows(0..<12)) == bits(before.rows(0..<12)))
    #expect(bits(after.rows(12..<13)) != bits(before.rows(12..<13)))
  }
}

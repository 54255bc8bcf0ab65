import Glibc
import Kernels
import Layers
import TestSupport
import Testing

/// Causal attention that sees the last few positions only, with padding behind the keys.
@Suite struct AttentionWindowTests {
  struct Case: CustomStringConvertible, Sendable {
    let description: String
    let window: Int
    /// Rows of each sequence, and how many of them are no padding.
    let lengths: [(rows: Int, keys: Int)]

    var rows: Int { lengths.reduce(0) { $0 + $1.rows } }
    var spans: [AttentionSpan] {
      var next = 0
      return lengths.map { length in
        defer { next += length.rows }
        return AttentionSpan(
          queries: next..<next + length.rows, keys: next..<next + length.keys,
          rows: next..<next + length.rows)
      }
    }
  }
  static let cases = [
    Case(description: "itself alone", window: 1, lengths: [(5, 5), (3, 3)]),
    Case(description: "three", window: 3, lengths: [(7, 7), (2, 2)]),
    Case(description: "more than there are", window: 50, lengths: [(6, 6), (9, 4)]),
    Case(description: "keys left behind", window: 2, lengths: [(9, 4), (5, 5), (4, 1)]),
  ]
  /// Several tiles, whole ones of padding that sees nothing among them.
  static let long = Case(
    description: "long", window: 40, lengths: [(150, 150), (200, 20), (130, 90)])

  private func attention(_ window: Int, _ workers: Workers = .inline) -> Attention {
    Attention(
      heads: 4, keyValueHeads: 2, headWidth: 3, window: window, keysMax: 200, workers: workers)
  }
  private func inputs(_ rows: Int) -> (q: Matrix, k: Matrix, v: Matrix) {
    (testMatrix(rows, 12, seed: 1), testMatrix(rows, 6, seed: 2), testMatrix(rows, 6, seed: 3))
  }

  /// Goal: softmax over the scores of the window, and the mean of all rows where it is empty.
  @Test(arguments: cases + [long]) func equalsTheFormula(example: Case) {
    let (q, k, v) = inputs(example.rows)
    let context = Matrix(rows: example.rows, columns: 12)
    attention(example.window).forward(
      q, k, v, spans: example.spans, isCausal: true, into: context)
    var worst = 0.0
    for span in example.spans {
      for query in span.queries {
        for head in 0..<4 {
          let expected = slowContext(example, span, query, head, q, k, v)
          for j in 0..<3 {
            worst = max(worst, abs(Double(context[query, 3 * head + j]) - expected[j]))
          }
        }
      }
    }
    #expect(worst < 2e-6)
  }

  private func slowContext(
    _ example: Case, _ span: AttentionSpan, _ query: Int, _ head: Int, _ q: Matrix, _ k: Matrix,
    _ v: Matrix
  ) -> [Double] {
    let first = 3 * (head / 2)
    var seen = span.keys.filter { $0 <= query && $0 > query - example.window }
    var weights = seen.map { key in
      exp(
        (0..<3).reduce(0.0) { $0 + Double(q[query, 3 * head + $1]) * Double(k[key, first + $1]) }
          / 3.0.squareRoot())
    }
    if seen.isEmpty { (seen, weights) = (Array(span.rows), span.rows.map { _ in 1 }) }
    let sum = weights.reduce(0, +)
    return (0..<3).map { j in
      zip(seen, weights).reduce(0) { $0 + $1.1 / sum * Double(v[$1.0, first + j]) }
    }
  }

  @Test(arguments: cases) func gradientsEqualFiniteDifferences(example: Case) {
    let (q, k, v) = inputs(example.rows)
    let attention = attention(example.window)
    let (context, dcontext) = (
      Matrix(rows: example.rows, columns: 12), testMatrix(example.rows, 12, seed: 4)
    )
    func loss() -> Double {
      attention.forward(q, k, v, spans: example.spans, isCausal: true, into: context)
      return inner(context, dcontext)
    }
    // Padding has no gradient of its own: whoever calls clears it.
    let (dq, dk, dv) = (
      Matrix(rows: example.rows, columns: 12), Matrix(rows: example.rows, columns: 6),
      testMatrix(example.rows, 6, seed: 7)
    )
    _ = loss()
    attention.backward(
      q, k, v, spans: example.spans, isCausal: true, context: context, dcontext: dcontext, dq: dq,
      dk: dk, dv: dv)
    expectGradient(dq, of: loss, withRespectTo: q, "dq")
    expectGradient(dk, of: loss, withRespectTo: k, "dk")
    expectGradient(dv, of: loss, withRespectTo: v, "dv")
  }

  @Test func sameBitsForAnyNumberOfWorkers() {
    let (q, k, v) = inputs(Self.long.rows)
    let dcontext = testMatrix(Self.long.rows, 12, seed: 4)
    let results = [1, 3].map { threads in
      let attention = attention(Self.long.window, Workers(count: threads))
      let (context, dq) = (
        Matrix(rows: Self.long.rows, columns: 12), Matrix(rows: Self.long.rows, columns: 12)
      )
      let (dk, dv) = (
        Matrix(rows: Self.long.rows, columns: 6), Matrix(rows: Self.long.rows, columns: 6)
      )
      attention.forward(q, k, v, spans: Self.long.spans, isCausal: true, into: context)
      attention.backward(
        q, k, v, spans: Self.long.spans, isCausal: true, context: context, dcontext: dcontext,
        dq: dq, dk: dk, dv: dv)
      return [context, dq, dk, dv].flatMap(bits)
    }
    #expect(results[1] == results[0])
  }

  /// Goal: a query alone at the end of its keys sees what it saw in the whole sequence.
  @Test func decodingContinuesASequence() {
    let (q, k, v) = inputs(30)
    let (context, step) = (Matrix(rows: 30, columns: 12), Matrix(rows: 1, columns: 12))
    let attention = attention(7)
    attention.forward(
      q, k, v, spans: [AttentionSpan(queries: 0..<30, keys: 0..<30)], isCausal: true,
      into: context)
    for position in [0, 5, 6, 7, 29] {
      attention.forward(
        q.rows(position..<position + 1), k, v,
        spans: [AttentionSpan(queries: 0..<1, keys: 0..<position + 1)], isCausal: true, into: step)
      let expected = context.rows(position..<position + 1).values
      #expect(zip(step.values, expected).allSatisfy { abs($0 - $1) < 1e-6 })
    }
  }
}

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

    func inputs() -> (q: Matrix, k: Matrix, v: Matrix) {
      (
        testMatrix(queries, width, seed: 1, padding: 3), testMatrix(keys, width, seed: 2),
        testMatrix(keys, width, seed: 3)
      )
    }
    func attention(_ workers: Workers = .inline) -> Attention {
      Attention(heads: heads, headWidth: headWidth, keysMax: 200, workers: workers)
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
  ]
  /// More queries than a tile has.
  static let long = Case(
    description: "long", heads: 2, headWidth: 8, lengths: [(150, 150), (70, 90)], isCausal: true)

  /// Goal: the formula in Double. Tolerance: sums of at most 200 terms below 1 with weights that
  /// add to 1.
  @Test(arguments: cases + [long]) func equalsTheFormula(example: Case) {
    let (q, k, v) = example.inputs()
    let context = Matrix(rows: example.queries, columns: example.width)
    example.attention().forward(
      q, k, v, spans: example.spans, isCausal: example.isCausal, into: context)
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
    let hidden = example.isCausal ? span.queries.upperBound - 1 - query : 0
    let seen = span.keys.dropLast(hidden)
    let weights = seen.map { key in
      let product = columns.reduce(0.0) { $0 + Double(q[query, $1]) * Double(k[key, $1]) }
      return exp(product / Double(example.headWidth).squareRoot())
    }
    let sum = weights.reduce(0, +)
    return columns.map { column in
      zip(seen, weights).reduce(0) { $0 + $1.1 / sum * Double(v[$1.0, column]) }
    }
  }

  @Test(arguments: cases) func gradientsEqualFiniteDifferences(example: Case) {
    let (q, k, v) = example.inputs()
    let attention = example.attention()
    let dcontext = testMatrix(example.queries, example.width, seed: 4)
    let context = Matrix(rows: example.queries, columns: example.width)
    func loss() -> Double {
      attention.forward(q, k, v, spans: example.spans, isCausal: example.isCausal, into: context)
      return inner(context, dcontext)
    }
    // Starting from garbage: the gradients are overwritten.
    let dq = testMatrix(example.queries, example.width, seed: 5)
    let dk = testMatrix(example.keys, example.width, seed: 6)
    let dv = testMatrix(example.keys, example.width, seed: 7)
    attention.backward(
      q, k, v, spans: example.spans, isCausal: example.isCausal, dcontext: dcontext, dq: dq,
      dk: dk, dv: dv)
    expectGradient(dq, of: loss, withRespectTo: q, "dq")
    expectGradient(dk, of: loss, withRespectTo: k, "dk")
    expectGradient(dv, of: loss, withRespectTo: v, "dv")
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
    attention.backward(
      q, k, v, spans: example.spans, isCausal: true, dcontext: dcontext, dq: dq, dk: dk, dv: dv)
    expectGradient(dq, of: loss, withRespectTo: q, "dq")
    expectGradient(dk, of: loss, withRespectTo: k, "dk")
    expectGradient(dv, of: loss, withRespectTo: v, "dv")
  }

  @Test func sameBitsForAnyNumberOfWorkers() {
    let example = Self.long
    let (q, k, v) = example.inputs()
    let dcontext = testMatrix(example.queries, example.width, seed: 4)
    let results = [1, 2, 3].map { threads in
      let attention = example.attention(Workers(count: threads))
      let context = Matrix(rows: example.queries, columns: example.width)
      let (dq, dk, dv) = (
        Matrix(rows: example.queries, columns: example.width),
        Matrix(rows: example.keys, columns: example.width),
        Matrix(rows: example.keys, columns: example.width)
      )
      attention.forward(q, k, v, spans: example.spans, isCausal: true, into: context)
      attention.backward(
        q, k, v, spans: example.spans, isCausal: true, dcontext: dcontext, dq: dq, dk: dk, dv: dv)
      return bits(context) + bits(dq) + bits(dk) + bits(dv)
    }
    #expect(results[1] == results[0])
    #expect(results[2] == results[0])
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

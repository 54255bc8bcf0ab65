/// Sums of squares along one side of a matrix, as factored second moments are made of. Every one is added
/// up in an order of its own, whatever the workers.

/// Of each row of x; [rows].
package func rowSquares(_ x: Matrix, on workers: Workers) -> [Float] {
  forEachRow(of: x, on: workers) { dot($0, $0) }
}

/// Of each row of x, whose columns weigh `weights`; [rows].
package func rowSquares(_ x: Matrix, weights: [Float], on workers: Workers) -> [Float] {
  precondition(weights.count == x.columns, "one weight a column")
  return forEachRow(of: x, on: workers) { weightedSquares($0, weights.span) }
}

/// Of each column of x, its rows in order; [columns].
package func columnSquares(_ x: Matrix, on workers: Workers) -> [Float] {
  var sums = [Float](repeating: 0, count: x.columns)
  var span = sums.mutableSpan
  let fence = Fence(&span)
  workers.forEachStrip(of: x.columns) { strip in
    let x = x.columns(strip)
    var own = fence.mutable(strip)
    for i in 0..<x.rows {
      let row = x.row(i)
      for j in 0..<row.count { own[j] = own[j].addingProduct(row[j], row[j]) }
    }
  }
  return sums
}

/// Of numbers of 16 bits, bfloat16s, that are no infinities: all together.
package func sumOfSquares(_ halves: Span<UInt16>, on workers: Workers) -> Double {
  let size = 8192
  let chunks = (halves.count + size - 1) / size
  var sums = [Float](repeating: 0, count: chunks)
  var span = sums.mutableSpan
  let (fence, halves, count) = (Fence(&span), Fence(halves), halves.count)
  workers.forEach(chunks) { chunk in
    let own = halves.span(chunk * size..<min(count, (chunk + 1) * size))
    var lanes = SIMD8<Float>()
    let whole = own.count / 8 * 8
    for i in stride(from: 0, to: whole, by: 8) {
      for lane in 0..<8 {
        let value = widen(own[i &+ lane])
        lanes[lane] = lanes[lane].addingProduct(value, value)
      }
    }
    for i in whole..<own.count { lanes[0].addProduct(widen(own[i]), widen(own[i])) }
    var target = fence.mutable(chunk..<chunk + 1)
    target[0] = sumLanes(lanes)
  }
  return sums.reduce(0) { $0 + Double($1) }
}

/// What `body` makes of each row.
private func forEachRow(
  of x: Matrix, on workers: Workers, _ body: @Sendable (borrowing Row) -> Float
) -> [Float] {
  var sums = [Float](repeating: 0, count: x.rows)
  var span = sums.mutableSpan
  let fence = Fence(&span)
  workers.forEachChunk(of: x.rows, size: max(1, floatsPerTask / max(1, x.columns))) { rows in
    var own = fence.mutable(rows)
    for i in rows { own[i - rows.lowerBound] = body(x.row(i)) }
  }
  return sums
}

private func weightedSquares(_ x: borrowing Row, _ weights: Span<Float>) -> Float {
  var lanes = SIMD8<Float>()
  let whole = x.count / 8 * 8
  for j in stride(from: 0, to: whole, by: 8) {
    let value = x.load8(j)
    var weight = SIMD8<Float>()
    for lane in 0..<8 { weight[lane] = weights[j &+ lane] }
    lanes.addProduct(value * value, weight)
  }
  for j in whole..<x.count { lanes[0].addProduct(x[j] * x[j], weights[j]) }
  return sumLanes(lanes)
}

/// 64 KiB: enough work for a worker to be woken for.
private let floatsPerTask = 16384

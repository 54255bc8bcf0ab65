/// Splits `weights` (row order) over two planes of as many elements.
package func splitMaster(
  _ weights: Matrix, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>
) {
  precondition(hi.count == weights.rows * weights.columns, "one hi half per weight")
  precondition(lo.count == hi.count, "one lo half per weight")
  for i in 0..<weights.rows {
    let (row, start) = (weights.row(i), i * weights.columns)
    for j in 0..<row.count { (hi[start &+ j], lo[start &+ j]) = splitMaster(row[j]) }
  }
}

/// Leaves of `weights` what their upper halves are.
package func dropRemainders(_ weights: Matrix) {
  for i in 0..<weights.rows {
    let row = weights.row(i)
    for j in 0..<row.count { row[j] = widen(splitMaster(row[j]).hi) }
  }
}

/// Rounds `weights` (row order) to the nearest bfloat16, to even at a tie.
package func roundToBfloat16(_ weights: Matrix, into hi: inout MutableSpan<UInt16>) {
  precondition(hi.count == weights.rows * weights.columns, "one half per weight")
  for i in 0..<weights.rows {
    let (row, start) = (weights.row(i), i * weights.columns)
    for j in 0..<row.count { hi[start &+ j] = roundedToBfloat16(row[j]) }
  }
}

/// 64 KiB of floats and their halves: enough work for a worker to be woken for.
private let weightsPerTask = 16384

/// Joins two planes into `weights`, of as many floats.
/// - Parameter before: called by each worker with the elements that it will pass over next.
package func joinMaster(
  hi: Span<UInt16>, lo: Span<UInt16>, into weights: SpacedFloats, on workers: Workers,
  before: @Sendable (Range<Int>) -> Void = { _ in }
) {
  precondition(hi.count == weights.count, "one hi half per weight")
  precondition(lo.count == hi.count, "one lo half per weight")
  let (hi, lo) = (Fence(hi), Fence(lo))
  workers.forEachChunk(of: weights.count, size: weightsPerTask) { range in
    before(range)
    weights.forEachRun(of: range) { joinChunk(hi.span($0), lo.span($0), into: $1) }
  }
}

/// Writes the bfloat16 plane `hi` as floats into `weights`, of as many.
/// - Parameter before: called by each worker with the elements that it will pass over next.
package func widen(
  _ hi: Span<UInt16>, into weights: SpacedFloats, on workers: Workers,
  before: @Sendable (Range<Int>) -> Void = { _ in }
) {
  precondition(hi.count == weights.count, "one half per weight")
  let hi = Fence(hi)
  workers.forEachChunk(of: weights.count, size: weightsPerTask) { range in
    before(range)
    weights.forEachRun(of: range) { widenChunk(hi.span($0), into: $1) }
  }
}

private func joinChunk(_ hi: Span<UInt16>, _ lo: Span<UInt16>, into weights: borrowing Row) {
  for i in hi.indices { weights[i] = joinMaster(hi: hi[i], lo: lo[i]) }
}

private func widenChunk(_ hi: Span<UInt16>, into weights: borrowing Row) {
  for i in hi.indices { weights[i] = widen(hi[i]) }
}

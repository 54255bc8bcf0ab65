import Glibc
package import Kernels
import Synchronization

/// The language-model head, and its loss: logits = outputScale x Emb^T, cross entropy in nats with
/// label smoothing. Emb is the embedding if the head is tied to it, or a matrix of its own. Logits
/// exist for one tile of rows at a time.
///
/// Legend: N rows, D width, V vocabulary. With smoothing s the loss of a row is
///
///     (1 - s) * nll + s * mean over the vocabulary of -log p
///
/// and nothing where the target is `ignored`: no loss, no gradient, no count.
///
/// Not for several threads at once: the tile is shared.
package struct CrossEntropy: Sendable {
  package static let rowsPerTile = 256
  /// The target of a row without one.
  package static let ignored: Int32 = -100
  package let smoothing: Float
  package let outputScale: Float
  private let logits: Matrix
  /// Per row of the tile: the smoothed loss and the plain negative log likelihood.
  private let losses: Matrix

  /// Sums over rows, added in Double in row order.
  package struct Total: Sendable, Equatable {
    package var loss = 0.0
    package var negativeLogLikelihood = 0.0
    /// Those with a target.
    package var rows = 0
  }

  /// - Parameter rowsPerTile: decides the order of sums in the embedding's gradient, so it is a
  ///   constant of the run: never derive it from free memory. Scratch is rowsPerTile * V floats.
  package init(
    vocabulary: Int, smoothing: Float, outputScale: Float = 1, rowsPerTile: Int = Self.rowsPerTile
  ) {
    precondition(vocabulary > 0, "a vocabulary")
    precondition(0 <= smoothing && smoothing < 1, "smoothing in 0..<1")
    precondition(rowsPerTile > 0, "a tile has rows")
    self.smoothing = smoothing
    self.outputScale = outputScale
    logits = Matrix(rows: rowsPerTile, columns: vocabulary)
    losses = Matrix(rows: rowsPerTile, columns: 2)
  }

  /// The loss without gradients. `perRow` is called with each row's smoothed loss, in order; 0 for
  /// ignored rows.
  package func forward(
    _ x: Matrix, targets: [Int32], embedding: Matrix, on workers: Workers,
    perRow: (_ row: Int, _ loss: Float, _ negativeLogLikelihood: Float) -> Void = { _, _, _ in }
  ) -> Total {
    check(x, embedding)
    precondition(targets.count == x.rows, "a target per row")
    var total = Total()
    forEachTile(x, embedding, on: workers) { rows, logits in
      workers.forEachChunk(of: rows.count, size: 8) { chunk in
        for i in chunk { _ = lose(i, logits, target: Int(targets[rows.lowerBound + i])) }
      }
      add(rows, targets, to: &total, perRow)
    }
    return total
  }

  /// The loss, dx_ND (overwritten) and dembedding_VD +=, both times `scale`: 1 / target tokens of
  /// the whole batch, ignored ones not counted.
  package func forwardBackward(
    _ x: Matrix, targets: [Int32], embedding: Matrix, scale: Float, dx: Matrix,
    dembedding: Matrix, on workers: Workers
  ) -> Total {
    check(x, embedding)
    precondition(targets.count == x.rows, "a target per row")
    precondition(dx.rows == x.rows && dx.columns == x.columns, "dx is [N, D]")
    precondition(dembedding.rows == embedding.rows, "dembedding is [V, D]")
    var total = Total()
    forEachTile(x, embedding, on: workers) { rows, logits in
      workers.forEachChunk(of: rows.count, size: 8) { chunk in
        for i in chunk {
          let target = Int(targets[rows.lowerBound + i])
          let sum = lose(i, logits, target: target)
          logitGradient(logits.row(i), sum: sum, target: target, scale: scale)
        }
      }
      add(rows, targets, to: &total) { _, _, _ in }
      matmul(logits, embedding, into: dx.rows(rows), scale: outputScale, on: workers)
      matmul(
        logits, x.rows(rows), transposeA: true, into: dembedding, scale: outputScale,
        accumulate: true, on: workers)
    }
    return total
  }

  /// What `transform` makes of the logits of each row of x, [1, V]. It may overwrite them; rows come
  /// in any order, on any worker.
  package func map<Result: Sendable>(
    _ x: Matrix, embedding: Matrix, on workers: Workers,
    _ transform: @Sendable (_ row: Int, _ logits: Matrix) -> Result
  ) -> [Result] {
    check(x, embedding)
    let results = Mutex([Result?](repeating: nil, count: x.rows))
    forEachTile(x, embedding, on: workers) { rows, logits in
      workers.forEach(rows.count) { index in
        let result = transform(rows.lowerBound + index, logits.rows(index..<index + 1))
        results.withLock { $0[rows.lowerBound + index] = result }
      }
    }
    return results.withLock { $0.compactMap { $0 } }
  }

  private func check(_ x: Matrix, _ embedding: Matrix) {
    precondition(embedding.columns == x.columns, "embedding is [V, D]")
    precondition(embedding.rows == logits.columns, "the vocabulary given at init")
  }

  private func forEachTile(
    _ x: Matrix, _ embedding: Matrix, on workers: Workers, _ body: (Range<Int>, Matrix) -> Void
  ) {
    for start in stride(from: 0, to: x.rows, by: logits.rows) {
      let rows = start..<min(x.rows, start + logits.rows)
      let tile = logits.rows(0..<rows.count)
      matmul(
        x.rows(rows), embedding, transposeB: true, into: tile, scale: outputScale, on: workers)
      body(rows, tile)
    }
  }

  /// Row `index` of the tile becomes exp(logit - maximum), and its losses are noted. Returns the
  /// sum of the row. An ignored row becomes zeros.
  private func lose(_ index: Int, _ logits: Matrix, target: Int) -> Float {
    let row = logits.row(index)
    guard target != Int(Self.ignored) else {
      for j in 0..<row.count { row[j] = 0 }
      (losses[index, 0], losses[index, 1]) = (0, 0)
      return 0
    }
    let chosen = row[target]
    let mean = smoothing > 0 ? sum(row) / Float(row.count) : 0
    let maximum = largest(row)
    let total = exponentiate(row, minus: maximum)
    let logSum = maximum + logf(total)
    let likelihood = logSum - chosen
    losses[index, 0] = (1 - smoothing) * likelihood + smoothing * (logSum - mean)
    losses[index, 1] = likelihood
    return total
  }

  /// scale * (p - (1 - s) onehot - s / V), in place on exp(logit - maximum).
  private func logitGradient(
    _ row: borrowing Row, sum: Float, target: Int, scale: Float
  ) {
    guard target != Int(Self.ignored) else { return }
    let (factor, uniform) = (scale / sum, scale * smoothing / Float(row.count))
    for j in 0..<row.count { row[j] = row[j] * factor - uniform }
    row[target] -= scale * (1 - smoothing)
  }

  private func add(
    _ rows: Range<Int>, _ targets: [Int32], to total: inout Total,
    _ perRow: (Int, Float, Float) -> Void
  ) {
    for i in 0..<rows.count {
      total.rows += targets[rows.lowerBound + i] == Self.ignored ? 0 : 1
      total.loss += Double(losses[i, 0])
      total.negativeLogLikelihood += Double(losses[i, 1])
      perRow(rows.lowerBound + i, losses[i, 0], losses[i, 1])
    }
  }
}

import Glibc
package import Kernels

/// Token rows of a table times a scale, and sinusoidal positions for models that know positions by
/// no other means. Legend: N packed tokens, D width, V vocabulary.
package struct Embedding: Sendable {
  package let width: Int
  package let scale: Float
  /// Row r holds position r of a sequence, [positionsMax, D]; nil for a table alone.
  private let positions: Matrix?
  /// A token without a position, which the others' positions do not count.
  private let padding: Int32?

  /// Rows of the table times `scale`, without positions.
  package init(width: Int, scale: Float = 1) {
    precondition(width > 0, "a row has columns")
    (self.width, self.scale, positions, padding) = (width, scale, nil, nil)
  }

  /// Rows of the table times sqrt(D), with positions as fairseq and M2M-100 compute them: the first
  /// half of the columns sine, the second cosine, of position * exp(-ln 10000 * i / (D/2 - 1));
  /// they restart in each sequence and the first is number 2 (their padding index 1, plus 1).
  ///
  /// - Parameters:
  ///   - scale: sqrt(D) unless given.
  ///   - firstPosition: the number of a sequence's first position.
  ///   - padding: a token without a position, which the others' positions do not count; nil: none.
  package init(
    width: Int, scale: Float? = nil, positionsMax: Int, firstPosition: Int = 2,
    padding: Int32? = nil
  ) {
    precondition(width > 0 && width % 2 == 0, "an even width: half sine, half cosine")
    self.width = width
    self.padding = padding
    self.scale = scale ?? Float(width).squareRoot()
    let positions = Matrix(rows: positionsMax, columns: width)
    let half = width / 2
    for i in 0..<half {
      let frequency = exp(-log(10_000) * Double(i) / Double(max(1, half - 1)))
      for row in 0..<positionsMax {
        let angle = Double(row + firstPosition) * frequency
        (positions[row, i], positions[row, half + i]) = (Float(sin(angle)), Float(cos(angle)))
      }
    }
    self.positions = positions
  }

  /// tokens_N -> x_ND. `sequences` are the runs of rows that are one sequence each; `starts` the
  /// positions of their first tokens, above 0 when decoding step by step. Rows of no sequence are
  /// left alone.
  package func forward(
    _ tokens: [Int32], table: Matrix, sequences: [Range<Int>], starts: [Int]? = nil,
    into x: Matrix, on workers: Workers
  ) {
    precondition(starts.map { $0.count == sequences.count } ?? true, "a start per sequence")
    precondition(x.rows == tokens.count, "a row per token")
    precondition(x.columns == width, "the width given at init")
    precondition(table.columns == x.columns, "table is [V, D]")
    workers.forEach(sequences.count) { sequence in
      let (rows, start) = (sequences[sequence], starts?[sequence] ?? 0)
      if let positions {
        precondition(start >= 0 && start + rows.count <= positions.rows, "within positionsMax")
      }
      var next = start
      for row in rows {
        let (target, source) = (x.row(row), table.row(Int(tokens[row])))
        guard let positions, tokens[row] != padding else {
          for j in 0..<target.count { target[j] = scale * source[j] }
          continue
        }
        let position = positions.row(next)
        for j in 0..<target.count { target[j] = position[j].addingProduct(scale, source[j]) }
        next += 1
      }
    }
  }

  /// dtable += scale * dx_ND, row by row in token order.
  /// - Parameter untrained: a token whose row gets nothing: dx is cleared where it is.
  package func backward(
    _ tokens: [Int32], dx: Matrix, dtable: Matrix, untrained: Int32? = nil, on workers: Workers
  ) {
    for (row, token) in tokens.enumerated() where token == untrained {
      dx.rows(row..<row + 1).fill(0)
    }
    scatterAddRows(dx, tokens, scale: scale, to: dtable, on: workers)
  }
}

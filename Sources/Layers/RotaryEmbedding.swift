import Glibc
package import Kernels

/// Rotary positions (Su et al., "RoFormer", 2021) in the half-split form: column j of a head turns
/// with column j + H/2, at position m by the angle m * theta^(-2 j / H), or what
/// `RotaryPositions` makes of that.
///
/// Legend: T packed tokens, H head width. Angles are computed in Double. Memory: positionsMax * H
/// floats.
package struct RotaryEmbedding: Sendable {
  package let headWidth: Int
  /// Row m: the cosines of position m, then its sines, [positionsMax, H].
  private let waves: Matrix

  private static let rowsPerTask = 32

  package init(headWidth: Int, positionsMax: Int, _ positions: RotaryPositions) {
    precondition(headWidth > 0 && headWidth % 2 == 0, "a head is two halves")
    precondition(positionsMax > 0, "at least one position")
    self.headWidth = headWidth
    waves = Matrix(rows: positionsMax, columns: headWidth)
    let (half, amplitude) = (headWidth / 2, positions.amplitude)
    for (j, frequency) in positions.frequencies(headWidth: headWidth).enumerated() {
      for position in 0..<positionsMax {
        let angle = Double(position) * frequency
        waves[position, j] = Float(amplitude * cos(angle))
        waves[position, half + j] = Float(amplitude * sin(angle))
      }
    }
  }

  /// Bytes that `init` allocates.
  package static func byteCount(headWidth: Int, positionsMax: Int) -> Int {
    headWidth * positionsMax * MemoryLayout<Float>.stride
  }

  /// Turns every head of the queries or keys x [T, heads * H] in place. `sequences` are the runs of
  /// rows that are one sequence each; `starts` the positions of their first tokens, above 0 when
  /// decoding step by step. Rows of no sequence are left alone.
  package func forward(
    _ x: Matrix, sequences: [Range<Int>], starts: [Int]? = nil, on workers: Workers
  ) {
    rotate(x, sequences, starts, direction: 1, on: workers)
  }

  /// The gradient of the turned matrix becomes that of the given one, in place: the turn back, with
  /// the same amplitude.
  package func backward(
    _ dx: Matrix, sequences: [Range<Int>], starts: [Int]? = nil, on workers: Workers
  ) {
    rotate(dx, sequences, starts, direction: -1, on: workers)
  }

  private func rotate(
    _ x: Matrix, _ sequences: [Range<Int>], _ starts: [Int]?, direction: Float,
    on workers: Workers
  ) {
    precondition(x.columns % headWidth == 0, "x is [T, heads * H]")
    precondition(starts.map { $0.count == sequences.count } ?? true, "a start per sequence")
    var positions = [Int](repeating: -1, count: x.rows)
    for (index, rows) in sequences.enumerated() {
      let start = starts?[index] ?? 0
      precondition(start >= 0, "positions count from 0")
      precondition(start + rows.count <= waves.rows, "within positionsMax")
      for row in rows { positions[row] = start + row - rows.lowerBound }
    }
    let all = positions
    workers.forEachChunk(of: x.rows, size: Self.rowsPerTask) { rows in
      for i in rows where all[i] >= 0 { rotate(x.row(i), waves.row(all[i]), direction) }
    }
  }

  private func rotate(_ x: borrowing Row, _ wave: borrowing Row, _ direction: Float) {
    let half = headWidth / 2
    let (cosine, sine) = (wave.part(0..<half), wave.part(half..<headWidth))
    for first in stride(from: 0, to: x.count, by: headWidth) {
      let (a, b) = (x.part(first..<first + half), x.part(first + half..<first + headWidth))
      for j in 0..<half {
        let (low, high, s) = (a[j], b[j], direction * sine[j])
        a[j] = (low * cosine[j]).addingProduct(-high, s)
        b[j] = (high * cosine[j]).addingProduct(low, s)
      }
    }
  }
}

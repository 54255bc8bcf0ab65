import Base
import Kernels

/// Multiplicative noise on the input of a gate in training: element i (row order) times 1 + amount *
/// u, u in -1 ..< 1 a function of (seed, key, i), so that forward and recomputation agree.
struct GateJitter: Sendable {
  let amount: Float
  private let stream: Philox

  init(amount: Float, seed: UInt64) {
    precondition(0 <= amount && amount < 1, "jitter in 0..<1")
    self.amount = amount
    stream = Philox(seed: seed, purpose: .gateJitter)
  }

  /// In place. The factors do not depend on x: the gradient is multiplied by the same.
  func apply(to x: Matrix, _ key: GateKey, on workers: Workers) {
    precondition(x.rows * x.columns < 1 << 34, "an element's group of four fits 32 bits")
    let (step, batch) = key.words
    workers.forEachChunk(of: x.rows, size: 32) { rows in
      for i in rows {
        let row = x.row(i)
        var j = 0
        while j < row.count {
          let element = i * row.count + j
          let words = stream.words(step, batch, UInt32(element / 4))
          for lane in element % 4..<min(4, element % 4 + row.count - j) {
            let u = Float(words[lane] >> 8) * 0x1p-23 - 1
            row[j] *= 1 + amount * u
            j += 1
          }
        }
      }
    }
  }
}

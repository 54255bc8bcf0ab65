import BenchHarness
import Kernels
import Layers

/// Kernels that move numbers more than they compute with them, over matrices of one shape.
struct MemoryLoops {
  private let workers: Workers
  private let x, dy, target, gradient: Matrix
  private let gain, bias, dgain, dbias: Matrix
  /// Each row once, in no order.
  private let indices: [Int32]

  init(rows: Int, columns: Int, _ workers: Workers) {
    self.workers = workers
    (x, dy) = (filled(rows, columns, seed: 1), filled(rows, columns, seed: 2))
    target = Matrix(rows: rows, columns: columns)
    gradient = Matrix(rows: rows, columns: columns)
    (gain, bias) = (filled(1, columns, seed: 3), filled(1, columns, seed: 4))
    (dgain, dbias) = (Matrix(rows: 1, columns: columns), Matrix(rows: 1, columns: columns))
    indices = Self.permutation(rows)
  }

  /// By a step that has no divisor in common with the number of rows.
  private static func permutation(_ count: Int) -> [Int32] {
    var step = max(1, count * 5 / 8)
    while greatestDivisor(step, count) != 1 { step += 1 }
    return (0..<count).map { Int32($0 * step % count) }
  }

  private static func greatestDivisor(_ a: Int, _ b: Int) -> Int {
    b == 0 ? a : greatestDivisor(b, a % b)
  }

  /// - Parameters:
  ///   - operands: matrices read and matrices written.
  ///   - prepare: before the clock runs.
  private func entrant(
    _ name: String, operands: Int, prepare: @escaping () -> Void = {},
    _ body: @escaping () -> Void
  ) -> Entrant {
    let bytes = Double(operands * x.rows * x.columns * MemoryLayout<Float>.stride)
    return Entrant(name) {
      prepare()
      let time = seconds(body)
      return Outcome(rate: bytes / time / 1e9, checksum: sample(target))
    }
  }

  var entrants: [Entrant] { norms + rows + activations + narrow }

  private var norms: [Entrant] {
    let (layerNorm, rootMeanSquare) = (LayerNorm(), RMSNorm(epsilon: 1e-6))
    return [
      entrant("layer norm forward", operands: 2) {
        layerNorm.forward(x, gain: gain, bias: bias, into: target, on: workers)
      },
      entrant("layer norm backward", operands: 3) {
        layerNorm.backward(
          x, gain: gain, dy: dy, dx: target, accumulate: false, dgain: dgain, dbias: dbias,
          on: workers)
      },
      entrant("RMS norm forward", operands: 2) {
        rootMeanSquare.forward(x, gain: gain, into: target, on: workers)
      },
      entrant("RMS norm backward", operands: 3) {
        rootMeanSquare.backward(
          x, gain: gain, dy: dy, dx: target, accumulate: false, dgain: dgain, on: workers)
      },
    ]
  }

  private var rows: [Entrant] {
    [
      entrant("softmax", operands: 2, prepare: copyX) { softmaxRows(target, on: workers) },
      entrant("gather rows", operands: 2) {
        gatherRows(x, indices, into: target, on: workers)
      },
      entrant("scatter and add rows", operands: 3, prepare: copyX) {
        scatterAddRows(dy, indices, to: target, on: workers)
      },
      entrant("add", operands: 3, prepare: copyX) { add(dy, to: target, on: workers) },
    ]
  }

  private var activations: [Entrant] {
    [
      entrant("ReLU and its gradient", operands: 4, prepare: copyBoth) {
        forEachRow { reluBoth(target.row($0), gradient.row($0)) }
      },
      entrant("GELU forward", operands: 2, prepare: copyX) {
        forEachRow { Activation.gelu.forward(target.row($0)) }
      },
      entrant("gated SiLU forward", operands: 3, prepare: copyX) {
        forEachRow { Activation.silu.forward(gate: target.row($0), up: dy.row($0)) }
      },
    ]
  }

  /// What has AVX-512 where there is some, as it is without.
  private var narrow: [Entrant] {
    let loops = PlainLoops()
    return [
      entrant("softmax, AVX2", operands: 2, prepare: copyX) {
        forEachRow { index in
          let row = target.row(index)
          loops.exponentiate(row, minus: largest(row))
          scaleRow(1 / sum(row), row)
        }
      },
      entrant("GELU forward, AVX2", operands: 2, prepare: copyX) {
        forEachRow { loops.forward(.gelu, target.row($0)) }
      },
      entrant("gated SiLU forward, AVX2", operands: 3, prepare: copyX) {
        forEachRow { loops.forward(.silu, gate: target.row($0), up: dy.row($0)) }
      },
    ]
  }

  private func copyX() { target.copy(from: x) }
  private func copyBoth() {
    copyX()
    gradient.copy(from: dy)
  }

  private func forEachRow(_ body: @Sendable (Int) -> Void) {
    workers.forEachChunk(of: x.rows, size: 32) { rows in for i in rows { body(i) } }
  }
}

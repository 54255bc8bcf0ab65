import BenchHarness
import Kernels
import Layers

/// An expert's shape, as published models have it.
struct BenchShape {
  let name: String
  let width: Int
  let hidden: Int
  let activation: Activation
  let isGated: Bool

  static let all = [
    BenchShape(
      name: "switch-base", width: 768, hidden: 3072, activation: .relu, isGated: false),
    BenchShape(name: "mixtral", width: 1024, hidden: 3584, activation: .silu, isGated: true),
    BenchShape(name: "tiny", width: 32, hidden: 64, activation: .silu, isGated: true),
  ]

  /// Multiplications and additions of the products for so many rows.
  func flops(rows: Int, products: Int) -> Double {
    2 * Double(products) * Double(rows) * Double(width) * Double(hidden)
  }
  /// h W1^T, W3, and into W2.
  var forwardProducts: Int { isGated ? 3 : 2 }
  /// The units again, into W2, the gradients of the weights and of h.
  var backwardProducts: Int { isGated ? 8 : 5 }
}

/// One expert with its rows, its scratch memory and its gradients.
struct ExpertProducts {
  private let shape: BenchShape
  private let workers: Workers
  private let w: [Matrix]
  private let dw: [Matrix]
  private let h, y, dy, dh: Matrix
  private let hidden, up, dhidden: Matrix
  private let p, dp: Matrix
  private let layer: FeedForward

  init(_ shape: BenchShape, rows: Int, _ workers: Workers) {
    let (width, units) = (shape.width, shape.hidden)
    (self.shape, self.workers) = (shape, workers)
    w = (0..<3).map { filled(units, width, seed: $0, isSpaced: true) }
    dw = (0..<3).map { _ in Matrix(rows: units, columns: width) }
    h = filled(rows, width, seed: 4)
    dy = filled(rows, width, seed: 5)
    (y, dh) = (Matrix(rows: rows, columns: width), Matrix(rows: rows, columns: width))
    hidden = Matrix(spacedRows: rows, columns: units)
    up = Matrix(spacedRows: rows, columns: units)
    dhidden = Matrix(spacedRows: rows, columns: units)
    (p, dp) = (filled(rows, 1, seed: 6), Matrix(rows: rows, columns: 1))
    layer = FeedForward(shape.activation, w1: w[0], w2: w[1], w3: shape.isGated ? w[2] : nil)
  }

  // MARK: The layer as it is trained

  func forward() {
    layer.forward(
      h, hidden: hidden, up: shape.isGated ? up : nil, into: y, accumulate: false, on: workers)
  }

  func backward() {
    layer.backward(
      h, dy: dy, combine: (p, dp), hidden: hidden, up: shape.isGated ? up : nil,
      dhidden: dhidden,
      into: FeedForward.Gradients(
        dh: dh, dw1: dw[0], dw2: dw[1], dw3: shape.isGated ? dw[2] : nil, accumulateInput: false,
        accumulateWeights: false),
      on: workers)
  }

  // MARK: Its products alone

  func forwardProducts() {
    project()
    matmul(hidden, w[1], into: y, on: workers)
  }

  func backwardProducts() {
    project()
    matmul(dy, w[1], transposeB: true, into: dhidden, on: workers)
    matmul(hidden, dy, transposeA: true, into: dw[1], on: workers)
    matmul(dhidden, h, transposeA: true, into: dw[0], on: workers)
    if shape.isGated { matmul(up, h, transposeA: true, into: dw[2], on: workers) }
    matmul(dhidden, w[0], into: dh, on: workers)
    if shape.isGated { matmul(up, w[2], into: dh, accumulate: true, on: workers) }
  }

  private func project() {
    matmul(h, w[0], transposeB: true, into: hidden, on: workers)
    if shape.isGated { matmul(h, w[2], transposeB: true, into: up, on: workers) }
  }

  var checksum: Checksum {
    var checksum = Checksum()
    for matrix in [y, dh] + dw { checksum.add(sample(matrix).value) }
    return checksum
  }
}

import Glibc
import Kernels
import TestSupport
import Testing

@Suite struct ActivationTests {
  /// The functions in Double, by the C library.
  static func reference(_ activation: Activation, _ x: Double) -> (value: Double, slope: Double) {
    switch activation {
    case .relu: return (max(x, 0), x > 0 ? 1 : 0)
    case .silu:
      let s = 1 / (1 + exp(-x))
      return (x * s, s * (1 + x * (1 - s)))
    case .gelu:
      let cumulative = erfc(-x / 2.squareRoot()) / 2
      return (x * cumulative, cumulative + x * exp(-x * x / 2) / (2 * Double.pi).squareRoot())
    case .geluTanh:
      let factor = (2 / Double.pi).squareRoot()
      let s = 1 / (1 + exp(-2 * factor * (x + 0.044715 * x * x * x)))
      return (x * s, s + x * s * (1 - s) * 2 * factor * (1 + 3 * 0.044715 * x * x))
    }
  }

  /// Points from -30 to 30, and close to 0.
  static let points: [Float] =
    (-30_000...30_000).map { Float($0) / 1000 } + (-300...300).map { Float($0) * 1e-7 }

  /// Goal: the stated accuracy, over all that a network sees.
  @Test(arguments: Activation.allCases) func isAccurate(activation: Activation) {
    let (x, dy) = (
      Matrix(rows: 2, columns: Self.points.count), Matrix(rows: 1, columns: Self.points.count)
    )
    x.assign(Self.points + Self.points)
    dy.fill(1)
    activation.forward(x.row(0))
    _ = activation.backward(x.row(1), dy.row(0), weight: 1)
    var (worst, worstSlope) = (0.0, 0.0)
    for (j, point) in Self.points.enumerated() {
      let (value, slope) = Self.reference(activation, Double(point))
      worst = max(worst, abs(Double(x[0, j]) - value) / (1e-6 * abs(value) + 1e-9))
      worstSlope = max(worstSlope, abs(Double(dy[0, j]) - slope))
    }
    #expect(worst <= 1)
    #expect(worstSlope <= 1e-6)
    #expect(bits(x.rows(0..<1)) == bits(x.rows(1..<2)), "forward and backward agree")
  }

  /// Goal: the exact one keeps its relative accuracy in the tail, where 1 + erf(x) has none left.
  @Test func geluIsAccurateInTheTail() {
    let points = (0..<1000).map { -4 - Float($0) * 0.009 }
    let x = Matrix(rows: 1, columns: points.count)
    x.assign(points)
    Activation.gelu.forward(x.row(0))
    var worst = 0.0
    for (j, point) in points.enumerated() {
      let value = Self.reference(.gelu, Double(point)).value
      worst = max(worst, abs(Double(x[0, j]) / value - 1))
    }
    #expect(worst < 1e-6)
  }

  /// Goal: the single-precision functions that other frameworks call agree to their own rounding,
  /// which for 1 + erf(x) and 1 + tanh(x) is an absolute one.
  @Test func agreesWithTheScalarTwins() {
    let x = Matrix(rows: 2, columns: Self.points.count)
    x.assign(Self.points + Self.points)
    Activation.gelu.forward(x.row(0))
    Activation.geluTanh.forward(x.row(1))
    var (worst, worstTanh) = (Float(0), Float(0))
    for (j, point) in Self.points.enumerated() {
      let exact = 0.5 * point * (1 + erff(point * Float(0.5).squareRoot()))
      let u = (2 / Float.pi).squareRoot() * (point + 0.044715 * point * point * point)
      let tolerance = 1e-6 * max(1, abs(point))
      worst = max(worst, abs(x[0, j] - exact) / tolerance)
      worstTanh = max(worstTanh, abs(x[1, j] - 0.5 * point * (1 + tanhf(u))) / tolerance)
    }
    #expect(worst <= 1)
    #expect(worstTanh <= 1)
  }

  @Test(arguments: Activation.allCases) func edges(activation: Activation) {
    let x = Matrix(rows: 1, columns: 5)
    x.assign([0, 100, -100, .infinity, .nan])
    activation.forward(x.row(0))
    #expect(x[0, 0] == 0)
    #expect(x[0, 1] == 100)
    #expect(x[0, 2] == 0)
    #expect(x[0, 3] == .infinity)
    #expect(x[0, 4].isNaN)
  }

  /// Goal: what the backward loops leave, on rows shorter and longer than their blocks.
  @Test(arguments: Activation.allCases, [1, 63, 64, 65, 200])
  func backwardLeavesWhatTheLayerNeeds(activation: Activation, count: Int) {
    let (x, dy) = (testMatrix(2, count, seed: 1, padding: 1), testMatrix(2, count, seed: 2))
    let up = testMatrix(1, count, seed: 3)
    let weight: Float = 0.7
    let (inputs, gradients, ups) = (x.values, dy.values, up.values)
    let plain = activation.backward(x.row(0), dy.row(0), weight: weight)
    let gated = activation.backward(gate: x.row(1), up: up.row(0), dy.row(1), weight: weight)
    var (plainSum, gatedSum, worst) = (0.0, 0.0, 0.0)
    for j in 0..<count {
      let (value, slope) = Self.reference(activation, Double(inputs[j]))
      let gradient = Double(gradients[j])
      let (gate, gateSlope) = Self.reference(activation, Double(inputs[count + j]))
      let (dgated, u, w) = (Double(gradients[count + j]), Double(ups[j]), Double(weight))
      plainSum += value * gradient
      gatedSum += gate * u * dgated
      for (result, expected) in [
        (x[0, j], w * value), (dy[0, j], w * gradient * slope), (x[1, j], w * gate * u),
        (up[0, j], w * dgated * gate), (dy[1, j], w * dgated * u * gateSlope),
      ] { worst = max(worst, abs(Double(result) - expected)) }
    }
    #expect(worst < 1e-6)
    #expect(abs(Double(plain) - plainSum) < 1e-5)
    #expect(abs(Double(gated) - gatedSum) < 1e-5)
  }

  @Test(arguments: Activation.allCases) func gatesTheSecondProjection(activation: Activation) {
    let (gate, up) = (testMatrix(1, 77, seed: 4), testMatrix(1, 77, seed: 5))
    let alone = Matrix(rows: 1, columns: 77)
    alone.copy(from: gate)
    activation.forward(alone.row(0))
    activation.forward(gate: gate.row(0), up: up.row(0))
    #expect(gate.values == zip(alone.values, up.values).map { $0 * $1 })
  }
}

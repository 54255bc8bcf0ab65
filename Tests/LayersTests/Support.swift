import Base
import Glibc
import Kernels
import Testing

/// <x, y> over all elements, in Double: a loss whose gradient with respect to x is y.
func inner(_ x: Matrix, _ y: Matrix) -> Double {
  zip(x.values, y.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
}

/// Expects `gradient` to be the gradient of `loss` with respect to the elements of `x`, by central
/// differences.
///
/// The layers compute in fp32, so a loss of size 1 carries errors near 1e-6; with a step of h =
/// 2^-7 the quotient carries 1e-6 / 2h = 6e-5, and the third derivative of a smooth loss h^2 / 6 =
/// 1e-5 times its size. The tolerance, 1e-3 + 5e-3 of the gradient, is an order above both, and far
/// below what a wrong term of a formula makes. `isSmooth` excludes elements near a kink.
func expectGradient(
  _ gradient: Matrix, of loss: () -> Double, withRespectTo x: Matrix, _ name: String,
  isSmooth: (Int, Int) -> Bool = { _, _ in true }, sourceLocation: SourceLocation = #_sourceLocation
) {
  let step: Float = 0x1p-7
  for i in 0..<x.rows {
    for j in 0..<x.columns where isSmooth(i, j) {
      let value = x[i, j]
      x[i, j] = value + step
      let above = loss()
      x[i, j] = value - step
      let below = loss()
      x[i, j] = value
      let expected = (above - below) / (2 * Double(step))
      let error = abs(Double(gradient[i, j]) - expected)
      #expect(
        error < 1e-3 + 5e-3 * abs(expected), "\(name)[\(i), \(j)]: \(gradient[i, j]), \(expected)",
        sourceLocation: sourceLocation)
    }
  }
}

/// The activations in Double, by the C library.
func slowActivation(_ activation: Activation, _ x: Double) -> Double {
  switch activation {
  case .relu: max(x, 0)
  case .silu: x / (1 + exp(-x))
  case .gelu: x / 2 * (1 + erf(x / 2.0.squareRoot()))
  case .geluTanh:
    x / 2 * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
  }
}

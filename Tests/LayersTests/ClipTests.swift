import Kernels
import Layers
import TestSupport
import Testing

@Suite struct ClipTests {
  @Test func valuesBeyondTheLimitAreTheLimit() {
    let x = Matrix(rows: 1, columns: 5)
    for (j, value) in [-3, -0.5, 0, 0.25, 2].enumerated() { x[0, j] = Float(value) }
    clip(x, to: 0.5, on: .inline)
    #expect(x.values == [-0.5, -0.5, 0, 0.25, 0.5])
  }

  /// Many rows, so that several workers take part.
  @Test func gradientEqualsFiniteDifferences() {
    let (x, y, dy) = (
      testMatrix(70, 3, seed: 1), Matrix(rows: 70, columns: 3), testMatrix(70, 3, seed: 2)
    )
    func loss() -> Double {
      y.copy(from: x)
      clip(y, to: 0.4, on: .inline)
      return inner(y, dy)
    }
    let dx = Matrix(rows: 70, columns: 3)
    dx.copy(from: dy)
    clipBackward(x, to: 0.4, dx, on: Workers(count: 2))
    expectGradient(
      dx, of: loss, withRespectTo: x, "dx", isSmooth: { abs(abs(x[$0, $1]) - 0.4) > 0x1p-6 })
    #expect(dx.values.contains(0) && !dx.values.allSatisfy { $0 == 0 })
  }
}

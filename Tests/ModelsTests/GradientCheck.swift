import Base
import Kernels
import Layers
import Models
import Testing

/// Central differences of the whole model's loss along two directions for each tensor: that of the
/// computed gradient, where the slope must be its norm, and a random one, which a gradient that
/// misses a part cannot satisfy.
///
/// The loss, a mean of float32 rows, is good to some 1e-7, so a step of 1e-3 gives slopes to about
/// 1e-4. A step across a kink of ReLU measures the mean of both sides, and where a step changes which
/// expert a token goes to, the loss jumps and has no slope; then a shorter step is taken, whose slope is
/// less exact. A gradient that misses a part is wrong at every one of them.
struct GradientCheck {
  private static let tolerance = 4e-4
  private let tiny: TinyModel

  init(_ tiny: TinyModel) { self.tiny = tiny }

  func check(_ name: String, _ number: Int, _ weights: Matrix, _ gradient: [Float]) {
    let random = Philox(seed: 77, purpose: .test)
    let noise = gradient.indices.map { random.uniform(UInt32($0), UInt32(number), 1) - 0.5 }
    for (kind, direction) in [("its own", gradient), ("a random", noise)] {
      let length = direction.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      guard length > 1e-6 else { continue }
      let unit = direction.map { Float(Double($0) / length) }
      let expected = zip(gradient, unit).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      let allowed = Self.tolerance + 0.01 * abs(expected)
      let measured = slopes(weights, along: unit) { abs($0 - expected) < allowed }
      #expect(
        measured.last.map { abs($0 - expected) < allowed } ?? false,
        "\(name) along \(kind) direction: \(measured) measured, \(expected) computed")
    }
  }

  /// With shorter and shorter steps until one is accepted; none when even the shortest changes the
  /// routing.
  private func slopes(
    _ weights: Matrix, along unit: [Float], until isAccepted: (Double) -> Bool
  ) -> [Double] {
    let before = weights.values
    defer { set(weights, before) }
    func loss(_ distance: Float) -> (value: Double, routing: [[Int32]]) {
      set(weights, zip(before, unit).map { $0 + distance * $1 })
      let value = tiny.loss()
      return (value, tiny.model.routings.flatMap { $0.gates.map(\.choice) })
    }
    let here = loss(0).routing
    var slopes: [Double] = []
    for step in [1e-3, 4e-4, 2e-4] as [Float] {
      let (ahead, behind) = (loss(step), loss(-step))
      guard ahead.routing == here, behind.routing == here else { continue }
      slopes.append((ahead.value - behind.value) / Double(2 * step))
      if isAccepted(slopes[slopes.count - 1]) { break }
    }
    return slopes
  }

  private func set(_ weights: Matrix, _ values: [Float]) {
    for row in 0..<weights.rows {
      for column in 0..<weights.columns {
        weights[row, column] = values[row * weights.columns + column]
      }
    }
  }
}

import Kernels
import TestSupport
import Testing

/// Goal: with or without AVX-512, every loop gives the same bits.
@Suite struct WideLoopsTests {
  /// Whole vectors of either width, tails of all lengths, and a long row.
  static let counts = Array(0...140) + [255, 256, 257, 1000, 4096, 4099]
  static let curves = Activation.allCases.filter { $0 != .relu }

  static let special: [Float] = [
    0, -0.0, .infinity, -.infinity, .nan, -.nan, .leastNonzeroMagnitude, -.leastNonzeroMagnitude,
    .leastNormalMagnitude, -0x1.8p-130, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 88,
    -87.4, 1e-20, -16,
  ]

  /// Five rows of values of every magnitude; every eleventh or so is a special one if there are any.
  static func values(_ count: Int, hasSpecial: Bool) -> Matrix {
    let rows = Matrix(rows: 5, columns: count)
    var state = UInt64(count)
    rows.assign(
      (0..<5 * count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        if hasSpecial, state >> 33 % 11 == 0 { return special[Int(state >> 60)] }
        let unit = Float(state >> 40) * 0x1p-23 - 1
        return unit * Float(sign: .plus, exponent: Int(state >> 20 % 40) - 34, significand: 1)
      })
    return rows
  }

  /// The wide loops, or nil where the processor has no AVX-512.
  static func wide() throws -> WideLoops? {
    guard WideLoops.processorIsWide else { return nil }
    let wide: WideLoops = try #require(WideLoops.available, "the library lies beside the tests")
    return wide
  }

  @Test(arguments: [false, true]) func exponentiate(hasSpecial: Bool) throws {
    guard let wide = try Self.wide() else { return }
    for count in Self.counts {
      let x = Self.values(count, hasSpecial: hasSpecial)
      let y = Self.values(count, hasSpecial: hasSpecial)
      loopExponentiate(x.row(0), minus: 1.5)
      wide.exponentiate(y.row(0), minus: 1.5)
      #expect(bits(x) == bits(y), "\(count) values")
    }
  }

  @Test(arguments: curves, [false, true])
  func forward(activation: Activation, hasSpecial: Bool) throws {
    guard let wide = try Self.wide() else { return }
    for count in Self.counts {
      let x = Self.values(count, hasSpecial: hasSpecial)
      let y = Self.values(count, hasSpecial: hasSpecial)
      activation.loopForward(x.row(0))
      wide.forward(activation, y.row(0))
      activation.loopForward(gate: x.row(1), up: x.row(2))
      wide.forward(activation, gate: y.row(1), up: y.row(2))
      #expect(bits(x) == bits(y), "\(count) values")
    }
  }

  @Test(arguments: curves, [false, true])
  func backward(activation: Activation, hasSpecial: Bool) throws {
    guard let wide = try Self.wide() else { return }
    for count in Self.counts {
      let x = Self.values(count, hasSpecial: hasSpecial)
      let y = Self.values(count, hasSpecial: hasSpecial)
      let plain = activation.loopBackward(x.row(0), x.row(1), weight: 0.75)
      let same = wide.backward(activation, y.row(0), y.row(1), weight: 0.75)
      #expect(plain.bitPattern == same.bitPattern, "\(count) values")

      let gated = activation.loopBackward(gate: x.row(2), up: x.row(3), x.row(4), weight: 0.75)
      let alike = wide.backward(
        activation, gate: y.row(2), up: y.row(3), y.row(4), weight: 0.75)
      #expect(gated.bitPattern == alike.bitPattern, "\(count) gated values")
      #expect(bits(x) == bits(y), "\(count) values")
    }
  }
}

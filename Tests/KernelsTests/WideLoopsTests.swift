import Kernels
import Testing

/// Goal: with or without AVX-512, every loop gives the same bits. Of two NaNs multiplied the processor
/// keeps the first, and which is first is the compiler's choice: signs of NaNs say nothing.
@Suite(.enabled(if: processorIsWide, "the processor has no AVX-512"))
struct WideLoopsTests {
  /// Whole vectors of either width, tails of all lengths, and a long row.
  static let counts = Array(0...140) + [255, 256, 257, 1000, 4096, 4099]
  static let curves = Activation.allCases.filter { $0 != .relu }

  /// Where the processor has AVX-512, the library must be there.
  static var wide: WideLoops { get throws { try WideLoops.available.get() } }

  @Test(arguments: [false, true]) func exponentiate(hasSpecial: Bool) throws {
    let wide = try Self.wide
    for count in Self.counts {
      let (x, y) = rowsTwice(count, hasSpecial: hasSpecial)
      loopExponentiate(x.row(0), minus: 1.5)
      wide.exponentiate(y.row(0), minus: 1.5)
      #expect(x.values.map(bits) == y.values.map(bits), "\(count) values")
    }
  }

  @Test(arguments: curves, [false, true])
  func forward(activation: Activation, hasSpecial: Bool) throws {
    let wide = try Self.wide
    for count in Self.counts {
      let (x, y) = rowsTwice(count, hasSpecial: hasSpecial)
      activation.loopForward(x.row(0))
      wide.forward(activation, y.row(0))
      activation.loopForward(gate: x.row(1), up: x.row(2))
      wide.forward(activation, gate: y.row(1), up: y.row(2))
      #expect(x.values.map(bits) == y.values.map(bits), "\(count) values")
    }
  }

  @Test(arguments: curves, [false, true])
  func backward(activation: Activation, hasSpecial: Bool) throws {
    let wide = try Self.wide
    for count in Self.counts {
      let (x, y) = rowsTwice(count, hasSpecial: hasSpecial)
      let plain = activation.loopBackward(x.row(0), x.row(1), weight: 0.75)
      let same = wide.backward(activation, y.row(0), y.row(1), weight: 0.75)
      #expect(bits(plain) == bits(same), "\(count) values")

      let gated = activation.loopBackward(gate: x.row(2), up: x.row(3), x.row(4), weight: 0.75)
      let alike = wide.backward(
        activation, gate: y.row(2), up: y.row(3), y.row(4), weight: 0.75)
      #expect(bits(gated) == bits(alike), "\(count) gated values")
      #expect(x.values.map(bits) == y.values.map(bits), "\(count) values")
    }
  }

  private func rowsTwice(_ count: Int, hasSpecial: Bool) -> (Matrix, Matrix) {
    let (x, y) = (Matrix(rows: 5, columns: count), Matrix(rows: 5, columns: count))
    let values = numbers(5 * count, seed: count, hasSpecial: hasSpecial)
    x.assign(values)
    y.assign(values)
    return (x, y)
  }
}

/// The same of an optimizer's step.
@Suite(.enabled(if: processorIsWide, "the processor has no AVX-512"))
struct WideUpdateTests {
  /// Groups of moments are at most 256.
  static let counts = Array(0...140) + [255, 256]

  /// Everything that a step on `count` parameters reads and writes.
  struct Group {
    var hi, lo: [UInt16]
    var codes: [UInt8]
    /// Of the codes.
    var scale: Float
    var m, v: [Float]

    init(_ count: Int, seed: Int, hasSpecial: Bool) {
      let weights = numbers(count, seed: seed, hasSpecial: hasSpecial)
      (hi, lo) = (weights.map { splitMaster($0).hi }, weights.map { splitMaster($0).lo })
      codes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 151 &+ seed) }
      scale = hasSpecial ? 3e38 : 0.0123
      m = numbers(count, seed: seed + 2, hasSpecial: hasSpecial)
      v = numbers(count, seed: seed + 3, hasSpecial: hasSpecial).map(\.magnitude)
    }

    var allBits: [UInt32] {
      let weights = zip(hi, lo).map { joinMaster(hi: $0, lo: $1) }
      return (weights + m + v + [scale]).map(bits) + codes.map { UInt32($0) }
    }
  }

  private let step = AdamWStep(
    gradientScale: 0.83, keep: 0.999, momentumRate: 0.1, varianceKeep: 0.99, varianceRate: 0.01,
    rate: 1e-3, inverseRootCorrection: 1.7, epsilon: 1e-8)

  /// Expects two bodies, one of them with wide loops, to do the same to equal groups, for every size
  /// and kind of numbers, and to return the same.
  private func compare(
    _ plain: (_ group: inout Group, _ gradient: [Float], _ noise: [UInt16]) -> [Float],
    _ wide: (WideLoops, _ group: inout Group, _ gradient: [Float], _ noise: [UInt16]) -> [Float]
  ) throws {
    let loops = try WideLoopsTests.wide
    for count in Self.counts {
      for hasSpecial in [false, true] {
        var group = Group(count, seed: 7 * count, hasSpecial: hasSpecial)
        var other = group
        let gradient = numbers(count, seed: count + 5, hasSpecial: hasSpecial)
        let noise = (0..<count).map { UInt16(truncatingIfNeeded: ($0 + count) &* 40503) }
        let used = plain(&group, gradient, noise)
        let same = wide(loops, &other, gradient, noise)
        #expect(used.map(bits) == same.map(bits), "\(count) results, special: \(hasSpecial)")
        #expect(group.allBits == other.allBits, "\(count) parameters, special: \(hasSpecial)")
      }
    }
  }

  @Test(arguments: [Moment.first, .second]) func codesAdvance(_ moment: Moment) throws {
    func advance(
      _ group: inout Group,
      _ body: (
        _ codes: inout MutableSpan<UInt8>, _ scale: inout Float, _ used: inout MutableSpan<Float>
      ) -> Void
    ) -> [Float] {
      guard !group.codes.isEmpty else { return [] }
      var (all, scale) = (group.codes, group.scale)
      var used = [Float](repeating: 0, count: all.count)
      var codes = all.mutableSpan
      var target = used.mutableSpan
      body(&codes, &scale, &target)
      (group.codes, group.scale) = (all, scale)
      return used
    }
    try compare(
      { group, gradient, noise in
        advance(&group) {
          moment.loopAdvance(
            codes: &$0, scale: &$1, step, gradient.span, noise.span, into: &$2)
        }
      },
      { wide, group, gradient, noise in
        advance(&group) {
          wide.advance(
            moment, codes: &$0, scale: &$1, step, gradient.span, noise.span, into: &$2)
        }
      })
  }

  /// By the whole of a step, and by its last part in either form.
  @Test func weightsMove() throws {
    try compare(
      { group, gradient, noise in
        withWeights(&group) {
          step.loopUpdate(hi: &$0, lo: &$1, m: &$2, v: &$3, gradient.span)
          step.loopMove(hi: &$0, lo: &$1, $2.span, $3.span)
          step.loopMove(hi: &$0, $2.span, $3.span, noise.span)
        }
      },
      { wide, group, gradient, noise in
        withWeights(&group) {
          wide.update(step, hi: &$0, lo: &$1, m: &$2, v: &$3, gradient.span)
          wide.move(step, hi: &$0, lo: &$1, $2.span, $3.span)
          wide.move(step, hi: &$0, $2.span, $3.span, noise.span)
        }
      })
  }

  private func withWeights(
    _ group: inout Group,
    _ body: (
      _ hi: inout MutableSpan<UInt16>, _ lo: inout MutableSpan<UInt16>,
      _ m: inout MutableSpan<Float>, _ v: inout MutableSpan<Float>
    ) -> Void
  ) -> [Float] {
    var (high, low, first, second) = (group.hi, group.lo, group.m, group.v)
    var hi = high.mutableSpan
    var lo = low.mutableSpan
    var m = first.mutableSpan
    var v = second.mutableSpan
    body(&hi, &lo, &m, &v)
    (group.hi, group.lo, group.m, group.v) = (high, low, first, second)
    return []
  }

  @Test(arguments: [0, 1, 1000, (1 << 27) - 1]) func noiseIsFilled(set: Int) throws {
    let wide = try WideLoopsTests.wide
    let batch = PhiloxBatch(seed: 0x1234_5678_9abc_def0 &+ UInt64(set), lane: 10)
    var numbers = [[UInt16]](
      repeating: Array(repeating: 0, count: PhiloxBatch.setCount), count: 2)
    var plain = numbers[0].mutableSpan
    batch.loopFill(&plain, 0xffff_fff0, 17, set: set)
    var same = numbers[1].mutableSpan
    wide.fill(batch, &same, 0xffff_fff0, 17, set: set)
    #expect(numbers[0] == numbers[1])
  }
}

/// Goal: no other library is taken for the one of this build.
@Suite struct WideLibraryTests {
  @Test func aMissingLibraryIsNamed() {
    let absence = #expect(throws: WideLoops.Absence.self) {
      _ = try WideLoops(path: "/nowhere/libPagodaWide.so")
    }
    #expect("\(absence, default: "")".contains("/nowhere/libPagodaWide.so"))
  }

  @Test func aLibraryOfSomethingElseIsRefused() {
    #expect(throws: WideLoops.Absence.otherBuild(path: "libm.so.6")) {
      _ = try WideLoops(path: "libm.so.6")
    }
  }

  /// Whoever takes a number of a step for another one is another build.
  @Test func theDigestSeesEveryNumberOfAStep() {
    let plain = LoopDigest(PlainLoops()).value
    let numbers: [Float] = [0.7, 0.99, 0.1, 0.98, 0.02, 0.01, 1.3, 1e-8]
    #expect(LoopDigest(MisreadingLoops(numbers)).value == plain, "those of the digest")
    for first in numbers.indices {
      for second in numbers.indices where first < second {
        var swapped = numbers
        swapped.swapAt(first, second)
        #expect(LoopDigest(MisreadingLoops(swapped)).value != plain, "\(first) for \(second)")
      }
    }
  }
}

/// Loops that take every step for one of these numbers.
private struct MisreadingLoops: LoopSet {
  private let plain = PlainLoops()
  private let step: AdamWStep

  init(_ x: [Float]) {
    step = AdamWStep(
      gradientScale: x[0], keep: x[1], momentumRate: x[2], varianceKeep: x[3], varianceRate: x[4],
      rate: x[5], inverseRootCorrection: x[6], epsilon: x[7])
  }

  func exponentiate(_ x: borrowing Row, minus offset: Float) {
    plain.exponentiate(x, minus: offset)
  }
  func forward(_ activation: Activation, _ x: borrowing Row) { plain.forward(activation, x) }
  func forward(_ activation: Activation, gate: borrowing Row, up: borrowing Row) {
    plain.forward(activation, gate: gate, up: up)
  }
  func backward(
    _ activation: Activation, _ x: borrowing Row, _ dy: borrowing Row, weight: Float
  ) -> Float {
    plain.backward(activation, x, dy, weight: weight)
  }
  func backward(
    _ activation: Activation, gate: borrowing Row, up: borrowing Row, _ dy: borrowing Row,
    weight: Float
  ) -> Float {
    plain.backward(activation, gate: gate, up: up, dy, weight: weight)
  }
  func fill(
    _ batch: PhiloxBatch, _ numbers: inout MutableSpan<UInt16>, _ a: UInt32, _ b: UInt32, set: Int
  ) {
    plain.fill(batch, &numbers, a, b, set: set)
  }
  func advance(
    _ moment: Moment, codes: inout MutableSpan<UInt8>, scale: inout Float, _: AdamWStep,
    _ gradient: Span<Float>, _ noise: Span<UInt16>, into used: inout MutableSpan<Float>
  ) {
    plain.advance(moment, codes: &codes, scale: &scale, step, gradient, noise, into: &used)
  }
  func move(
    _: AdamWStep, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>, _ m: Span<Float>,
    _ root: Span<Float>
  ) {
    plain.move(step, hi: &hi, lo: &lo, m, root)
  }
  func move(
    _: AdamWStep, hi: inout MutableSpan<UInt16>, _ m: Span<Float>, _ root: Span<Float>,
    _ noise: Span<UInt16>
  ) {
    plain.move(step, hi: &hi, m, root, noise)
  }
  func update(
    _: AdamWStep, hi: inout MutableSpan<UInt16>, lo: inout MutableSpan<UInt16>,
    m: inout MutableSpan<Float>, v: inout MutableSpan<Float>, _ gradient: Span<Float>
  ) {
    plain.update(step, hi: &hi, lo: &lo, m: &m, v: &v, gradient)
  }
}

private let processorIsWide: Bool =
  if case .failure(.processor) = WideLoops.available { false } else { true }

private func bits(_ x: Float) -> UInt32 { x.isNaN ? Float.nan.bitPattern : x.bitPattern }

private let special: [Float] = [
  0, -0.0, .infinity, -.infinity, .nan, -.nan, .leastNonzeroMagnitude, -.leastNonzeroMagnitude,
  .leastNormalMagnitude, -0x1.8p-130, .greatestFiniteMagnitude, -.greatestFiniteMagnitude, 88,
  -87.4, 1e-20, -16,
]

/// Values of every magnitude; every eleventh or so is a special one if there are any.
private func numbers(_ count: Int, seed: Int, hasSpecial: Bool) -> [Float] {
  var state = UInt64(seed)
  return (0..<count).map { _ in
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    if hasSpecial, state >> 33 % 11 == 0 { return special[Int(state >> 60)] }
    let unit = Float(state >> 40) * 0x1p-23 - 1
    return unit * Float(sign: .plus, exponent: Int(state >> 20 % 40) - 34, significand: 1)
  }
}

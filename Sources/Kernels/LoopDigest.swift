/// Everything that loops make of a few numbers, in one number: another number than `PlainLoops` gives
/// tells that a library was compiled from other sources. Its results may be other bits, or what it is
/// given may lie elsewhere in its records.
package struct LoopDigest<Loops: LoopSet> {
  private let loops: Loops
  /// Whole vectors of either width, and a tail.
  private static var count: Int { 77 }

  /// FNV-1a.
  package private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

  package init(_ loops: Loops) {
    self.loops = loops
    addActivations()
    addUpdates()
  }

  private mutating func add(_ number: UInt32) {
    value = (value ^ UInt64(number)) &* 0x100_0000_01b3
  }
  private mutating func add(_ numbers: [Float]) { for x in numbers { add(x.bitPattern) } }
  private mutating func add(_ numbers: [UInt16]) { for x in numbers { add(UInt32(x)) } }

  /// Numbers of both signs from 2^-20 to 8, in no order.
  private static func numbers(_ seed: UInt32) -> [Float] {
    (0..<UInt32(count)).map { index in
      let bits = (index &+ seed &* 101) &* 0x9E37_79B9
      let exponent = Int(bits >> 27) % 23 - 20
      let magnitude = Float(
        sign: .plus, exponent: exponent, significand: Float(bits & 0x7f_ffff | 0x80_0000) * 0x1p-23)
      return bits & 0x100_0000 == 0 ? magnitude : -magnitude
    }
  }

  private mutating func addActivations() {
    var x = Self.numbers(1)
    withRow(&x) { loops.exponentiate($0, minus: 9) }
    add(x)
    for activation in Activation.allCases {
      var (gate, up, dy) = (Self.numbers(2), Self.numbers(3), Self.numbers(4))
      withRow(&gate) { gate in
        loops.forward(activation, gate)
        withRow(&up) { up in loops.forward(activation, gate: gate, up: up) }
      }
      add(gate)
      var products: [Float] = []
      withRow(&gate) { gate in
        withRow(&dy) { dy in
          products.append(loops.backward(activation, gate, dy, weight: 0.75))
          withRow(&up) { up in
            products.append(loops.backward(activation, gate: gate, up: up, dy, weight: 1.5))
          }
        }
      }
      for numbers in [products, gate, up, dy] { add(numbers) }
    }
  }

  private mutating func addUpdates() {
    let step = AdamWStep(
      gradientScale: 0.7, keep: 0.99, momentumRate: 0.1, varianceKeep: 0.98, varianceRate: 0.02,
      rate: 0.01, inverseRootCorrection: 1.3, epsilon: 1e-8)
    var numbers = [UInt16](repeating: 0, count: PhiloxBatch.setCount)
    var span = numbers.mutableSpan
    loops.fill(PhiloxBatch(seed: 5 << 32 | 4, lane: 6), &span, 7, 8, set: 9)
    add(numbers)
    let noise = numbers.span.extracting(first: Self.count)
    var moments: [[Float]] = []
    for moment in [Moment.first, .second] {
      let gradient = Self.numbers(5)
      var used = gradient
      var codes = [UInt8](repeating: 90, count: Self.count)
      var scale: Float = 0.3
      var target = used.mutableSpan
      var code = codes.mutableSpan
      loops.advance(
        moment, codes: &code, scale: &scale, step, gradient.span, noise, into: &target)
      add(codes.map { UInt16($0) })
      add(scale.bitPattern)
      add(used)
      moments.append(used)
    }
    addWeights(step, m: moments[0], v: moments[1], noise)
  }

  private mutating func addWeights(
    _ step: AdamWStep, m: [Float], v: [Float], _ noise: Span<UInt16>
  ) {
    let weights = Self.numbers(6)
    var (hi, lo) = (weights.map { splitMaster($0).hi }, weights.map { splitMaster($0).lo })
    var (m, v) = (m, v)
    var high = hi.mutableSpan
    var low = lo.mutableSpan
    loops.move(step, hi: &high, m.span, v.span, noise)
    loops.move(step, hi: &high, lo: &low, m.span, v.span)
    var first = m.mutableSpan
    var second = v.mutableSpan
    loops.update(step, hi: &high, lo: &low, m: &first, v: &second, weights.span)
    for halves in [hi, lo] { add(halves) }
    for moments in [m, v] { add(moments) }
  }
}

/// Hands the floats of `values` as a row to `body`.
private func withRow(_ values: inout [Float], _ body: (borrowing Row) -> Void) {
  let count = values.count
  unsafe values.withUnsafeMutableBufferPointer { floats in
    if let base = floats.baseAddress { unsafe body(Row(base: base, count: count)) }
  }
}

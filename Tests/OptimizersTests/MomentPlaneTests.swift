import Base
import Kernels
import Optimizers
import Testing

private func encoded(_ moment: Moment, _ values: [Float], _ states: StatePrecision) -> [UInt8] {
  let matrix = Matrix(rows: 1, columns: values.count)
  matrix.assign(values)
  var plane = [UInt8](repeating: 0xee, count: states.byteCount(values.count))
  var span = plane.mutableSpan
  states.encode(moment, matrix, into: &span)
  return plane
}

private func decoded(_ moment: Moment, _ plane: [UInt8], _ states: StatePrecision, _ count: Int)
  -> [Float]
{
  let matrix = Matrix(rows: 1, columns: count)
  states.decode(moment, plane.span, into: matrix)
  return matrix.values
}

private func bytes(_ value: Float) -> [UInt8] {
  (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
}

@Suite struct MomentPlaneTests {
  /// The scales begin behind the codes, at a multiple of 4, one for each begun 256 values.
  @Test func bytesOfAPlane() {
    #expect(StatePrecision.fp32.byteCount(1000) == 4000)
    #expect(StatePrecision.bf16.byteCount(1000) == 2000)
    #expect(StatePrecision.int8.byteCount(1000) == 1000 + 16)
    #expect(StatePrecision.int8.byteCount(257) == 260 + 8)
    #expect(StatePrecision.int8.byteCount(1) == 8)
  }

  /// Goal: all codes of both moments, under scales from the smallest normal to the largest finite
  /// number, come back as the bytes they were; the scale itself comes back exactly.
  @Test(arguments: [
    Float.leastNormalMagnitude, 3e-30, 0x1.3p-9, 1, 0.7, 12345, .greatestFiniteMagnitude,
  ])
  func everyCodeSurvives(_ scale: Float) {
    // -128 is no code; the second group is short.
    let signed = (0..<256).map { UInt8(bitPattern: Int8(max(-127, $0 - 128))) }
    let unsigned = (0..<256).map { UInt8($0) }
    for (moment, codes) in [(Moment.first, signed), (.second, unsigned)] {
      let all = codes + codes.suffix(30)
      let plane = all + [0, 0] + bytes(scale) + bytes(scale)
      #expect(plane.count == StatePrecision.int8.byteCount(286))
      let values = decoded(moment, plane, .int8, 286)
      #expect(values.max() == scale)
      // Below a normal number the steps of Float are wider than those of the codes.
      guard scale > 1e-29 else { continue }
      #expect(encoded(moment, values, .int8) == plane)
    }
  }

  @Test(arguments: StatePrecision.allCases) func zerosAreZeroBytes(_ states: StatePrecision) {
    for moment in [Moment.first, .second] {
      let zeros = [Float](repeating: 0, count: 300)
      #expect(encoded(moment, zeros, states) == [UInt8](repeating: 0, count: states.byteCount(300)))
      #expect(decoded(moment, encoded(moment, zeros, states), states, 300) == zeros)
    }
  }

  /// Goal: nothing but zero has the code zero where it divides; denormal groups are zero.
  @Test func smallSecondMomentsAreNotZero() {
    let values: [Float] = [1, 1e-5, 1e-10, 1e-12, 1e-20, .leastNonzeroMagnitude, 0]
    let plane = encoded(.second, values, .int8)
    #expect(plane.prefix(3) == [255, 14, 1] && plane[3...6].elementsEqual([1, 1, 1, 0]))
    let denormal: [Float] = [.leastNonzeroMagnitude, .leastNormalMagnitude.nextDown, 0]
    #expect(decoded(.second, encoded(.second, denormal, .int8), .int8, 3) == [0, 0, 0])
    #expect(decoded(.first, encoded(.first, denormal, .int8), .int8, 3) == [0, 0, 0])
  }

  /// Goal: an infinite moment, which fp32 has at such gradients too, does not become a NaN.
  @Test func infinityIsTheLargestNumber() {
    let found = decoded(.second, encoded(.second, [.infinity, 1, 0], .int8), .int8, 3)
    #expect(found[0] == .greatestFiniteMagnitude && found[1].isFinite && found[2] == 0)
  }

  /// Goal: to the nearest, the error is at most half the distance to the neighbouring codes.
  @Test func errorsAreAtMostHalfAStep() {
    let stream = Philox(seed: 4, purpose: .test)
    let values = (0..<5000).map { i -> Float in
      let words = stream.words(UInt32(i), 0, 0)
      return (Philox.unit(words.x) - 0.5) * [1, 1e-1, 1e-2, 1e-3][i % 4]
    }
    let first = decoded(.first, encoded(.first, values, .int8), .int8, 5000)
    let squares = values.map { $0 * $0 }
    let second = decoded(.second, encoded(.second, squares, .int8), .int8, 5000)
    for i in values.indices {
      let group = values[i / 256 * 256..<min(5000, i / 256 * 256 + 256)]
      let largest = group.map(\.magnitude).max() ?? 0
      // (c + 1)^2 - c^2 = 2 c + 1 where c = 127 sqrt(|m| / s).
      let c = 127 * (values[i].magnitude / largest).squareRoot()
      #expect(abs(first[i] - values[i]) <= (c + 1) * 1.001 * largest / 16129, "\(values[i])")
      #expect((first[i] < 0) == (values[i] < 0) || first[i] == 0)
      let root = second[i].squareRoot()
      let d = 255 * (values[i].magnitude / largest).squareRoot()
      #expect(abs(root - values[i].magnitude) <= (1.5 * d + 2) * largest / 65025, "\(squares[i])")
    }
  }

  /// Goal: bfloat16 to the nearest, and what it holds exactly as it is.
  @Test func halvesAreNearest() {
    let values: [Float] = [1, 1 + 0x1p-8, 1 + 0x1.8p-8, -1.5, 0x1p-140, 3e38, 0]
    let found = decoded(.first, encoded(.first, values, .bf16), .bf16, values.count)
    #expect(found == values.map { widen(splitMaster($0).hi) })
    #expect(found.prefix(4) == [1, 1 + 0x1p-7, 1 + 0x1p-7, -1.5])
    #expect(decoded(.second, encoded(.second, found, .bf16), .bf16, values.count) == found)
  }
}

@Suite struct StochasticMomentTests {
  /// Goal: the mean of what many parameters with one gradient are rounded to is the moment itself, for
  /// moments between any two codes. A group's first parameter has the largest gradient.
  @Test(arguments: [StatePrecision.bf16, .int8]) func meansAreTheMoments(_ states: StatePrecision) {
    let count = 256 * 256
    let adam = AdamW(beta1: 0, beta2: 0, epsilon: 1e-8, weightDecay: 0)
    for (number, size) in [Float(0.9), 0.31, 0.05, 0.0123, 0.003].enumerated() {
      let gradient = (0..<count).map { $0 % 256 == 0 ? 1 : ($0 % 2 == 0 ? -size : size) }
      var block = PlainBlock(weights: gradient, states, .fp32)
      let step = adam.step(1, learningRate: 0)
      block.update(
        BlockStep(
          matrices: step, vectors: step, matrixParameters: count, states: states,
          seed: UInt64(number), step: 1, block: .expert(layer: 0, 0)), gradient, on: .inline)
      for (moment, plane, wanted) in [
        (Moment.first, block.m, Double(size)), (.second, block.v, Double(size * size)),
      ] {
        let found = block.moments(plane, moment).enumerated().filter { $0.offset % 256 != 0 }
          .map { Double($0.element.magnitude) }
        let mean = found.reduce(0, +) / Double(found.count)
        let step = (found.max() ?? 0) - (found.min() ?? 0)
        #expect(Set(found).count <= 2, "two neighbours")
        // Three deviations of a coin's mean; single precision decides the coin.
        let allowed = 3 * 0.5 * step / Double(found.count).squareRoot() + 1e-6 * wanted
        #expect(abs(mean - wanted) < allowed, "\(moment) \(size): \(mean), not \(wanted)")
      }
    }
  }
}

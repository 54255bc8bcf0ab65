import Base
import Kernels
import Optimizers
import Testing

/// What a store may keep of a block.
struct Precision: CustomTestStringConvertible, Sendable {
  let states: StatePrecision
  let master: MasterPrecision
  var testDescription: String { "states \(states), master \(master)" }

  static let all = StatePrecision.allCases.flatMap { states in
    MasterPrecision.allCases.map { Precision(states: states, master: $0) }
  }
}

private func randoms(_ count: Int, seed: UInt64) -> [Float] {
  let stream = Philox(seed: seed, purpose: .test)
  return (0..<count).map { 2 * stream.uniform(UInt32($0), 0, 0) - 1 }
}

@Suite struct BlockStepTests {
  private let adam = AdamW(beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weightDecay: 0.1)
  private let block = BlockID.expert(layer: 3, 5, slice: 1)

  private func rates(_ step: Int, matrixParameters: Int) -> PlainBlock.Rates {
    PlainBlock.Rates(
      adam: adam, index: step, rate: 1e-2, matrixParameters: matrixParameters,
      seed: 0x1234_5678_9abc_def0, step: step + 40, block: block)
  }

  private func step(_ rates: PlainBlock.Rates, _ states: StatePrecision) -> BlockStep {
    var undecayed = rates.adam
    undecayed.weightDecay = 0
    return BlockStep(
      matrices: rates.adam.step(rates.index, learningRate: rates.rate),
      vectors: undecayed.step(rates.index, learningRate: rates.rate),
      matrixParameters: rates.matrixParameters, states: states, seed: rates.seed,
      step: rates.step, block: rates.block)
  }

  /// Gradients of very different sizes, one in seven zero.
  private func gradient(_ count: Int, _ step: Int) -> [Float] {
    zip(randoms(count, seed: UInt64(10 + step)), 0..<count).map {
      $1 % 7 == 3 ? 0 : $0 * [1, 1e-2, 1e-4, 1e-7][$1 / 3 % 4]
    }
  }

  /// Goal: the bits of the slow twin, for odd counts, borders in the middle of a group and groups in
  /// the middle of a task, and for any number of workers.
  @Test(arguments: Precision.all) func equalsTheTwin(_ precision: Precision) {
    for (count, border) in [
      (1, 1), (3, 0), (255, 200), (256, 256), (257, 256), (511, 300), (8191, 8000),
      (9001, 8192 + 77),
    ] {
      let weights = randoms(count, seed: UInt64(count))
      var twin = PlainBlock(weights: weights, precision.states, precision.master)
      var blocks = [1, 2, 3].map { threads in (Workers(count: threads), twin) }
      for t in 1...3 {
        let rates = rates(t, matrixParameters: border)
        let gradient = gradient(count, t)
        twin.updatePlainly(rates, gradient)
        for i in blocks.indices {
          blocks[i].1.update(step(rates, precision.states), gradient, on: blocks[i].0)
          #expect(blocks[i].1 == twin, "\(count) parameters, step \(t), \(i + 1) threads")
        }
      }
    }
  }

  /// Goal: at full precision the bits are those of whole floats.
  @Test func fullPrecisionEqualsWholeFloats() {
    let count = 700
    var weights = randoms(count, seed: 1)
    var block = PlainBlock(weights: weights, .fp32, .fp32)
    var (m, v) = (
      Array(repeating: Float(0), count: count), Array(repeating: Float(0), count: count)
    )
    for t in 1...4 {
      let (rates, gradient) = (rates(t, matrixParameters: count), gradient(count, t))
      block.update(step(rates, .fp32), gradient, on: .inline)
      var wSpan = weights.mutableSpan
      var mSpan = m.mutableSpan
      var vSpan = v.mutableSpan
      rates.adam.step(t, learningRate: rates.rate).update(
        weights: &wSpan, m: &mSpan, v: &vSpan, gradient: gradient.span, on: .inline)
    }
    #expect(block.weights.map(\.bitPattern) == weights.map(\.bitPattern))
    #expect(block.moments(block.m, .first) == m && block.moments(block.v, .second) == v)
  }

  /// Goal: a step of another number, of another block or under another seed rounds otherwise.
  @Test func roundingDependsOnSeedStepAndBlock() {
    let start = PlainBlock(weights: randoms(2000, seed: 2), .int8, .bf16)
    let gradient = randoms(2000, seed: 3)
    func updated(_ seed: UInt64, _ step: Int, _ block: BlockID) -> PlainBlock {
      var state = start
      let adam = adam.step(1, learningRate: 1e-3)
      let update = BlockStep(
        matrices: adam, vectors: adam, matrixParameters: 2000, states: .int8, seed: seed,
        step: step, block: block)
      state.update(update, gradient, on: .inline)
      return state
    }
    let one = updated(1, 1, block)
    #expect(one == updated(1, 1, block))
    for other in [
      updated(2, 1, block), updated(1, 2, block), updated(1, 1 + 1 << 32, block),
      updated(1, 1, .expert(layer: 3, 6, slice: 1)), updated(1, 1, .expert(layer: 4, 5, slice: 1)),
    ] {
      #expect(one.hi != other.hi && one.m != other.m && one.v != other.v)
    }
  }

  /// Goal: what rounding to the nearest loses for ever is not lost. Steps of a hundredth of half a
  /// bfloat16 ulp move the mean weight by what they are together.
  @Test func smallStepsMoveBfloat16Weights() {
    let count = 1 << 14
    var block = PlainBlock(weights: Array(repeating: 1.5, count: count), .fp32, .bf16)
    var plain = AdamW(beta1: 0, beta2: 0.5, epsilon: 1e-12, weightDecay: 0)
    plain.weightDecay = 0
    let gradient = Array(repeating: Float(1), count: count)
    let steps = 200
    for t in 1...steps {
      let adam = plain.step(t, learningRate: 0x1p-9 / 50)
      block.update(
        BlockStep(
          matrices: adam, vectors: adam, matrixParameters: count, states: .fp32, seed: 7, step: t,
          block: self.block), gradient, on: .inline)
    }
    let mean = block.weights.reduce(0.0) { $0 + Double($1) } / Double(count)
    let expected = 1.5 - Double(steps) * 0x1p-9 / 50
    // A weight's end is a sum of coins with a step of 2^-7: the mean's deviation is at most
    // sqrt(200 / 4 / 2^14) 2^-7 = 4e-4; three of them.
    #expect(abs(mean - expected) < 1.3e-3)
    #expect(abs(1.5 - mean) > 5e-3)
  }

  /// Goal: second moments follow gradients that fall by a factor of 10, up to the spread that the codes
  /// have, at the slow rate at which bfloat16 and bytes to the nearest stand still.
  @Test(arguments: [StatePrecision.bf16, .int8]) func secondMomentsDecay(_ states: StatePrecision) {
    let count = 4096
    let slow = AdamW(beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0)
    var block = PlainBlock(weights: randoms(count, seed: 5), states, .fp32)
    var exact = PlainBlock(weights: randoms(count, seed: 5), .fp32, .fp32)
    for t in 1...3000 {
      let size: Float = t <= 500 ? 1 : 0.1
      // One parameter of a group stays as it was: the scale does not fall.
      let gradient = (0..<count).map { $0 % 256 == 0 ? 1 : size * (t % 2 == 0 ? 1 : -1) }
      let adam = slow.step(t, learningRate: 0)
      func step(_ states: StatePrecision) -> BlockStep {
        BlockStep(
          matrices: adam, vectors: adam, matrixParameters: count, states: states, seed: 9, step: t,
          block: self.block)
      }
      block.update(step(states), gradient, on: .inline)
      exact.update(step(.fp32), gradient, on: .inline)
    }
    let wanted = exact.moments(exact.v, .second)
    let found = block.moments(block.v, .second)
    let ratios = zip(found, wanted).enumerated().filter { $0.offset % 256 != 0 }
      .map { Double($0.element.0 / $0.element.1) }
    let mean = ratios.reduce(0, +) / Double(ratios.count)
    let spread = (ratios.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(ratios.count))
      .squareRoot()
    #expect(abs(mean - 1) < 0.03, "\(mean)")
    #expect(spread < (states == .bf16 ? 0.12 : 0.3), "\(spread)")
  }
}

import Base
import Kernels
import Optimizers
import Synchronization
import Testing

/// Weights, moments and gradients of `count` elements, made by seed.
private struct State {
  var weights: [Float]
  var m: [Float]
  var v: [Float]
  var hi: [UInt16]
  var lo: [UInt16]

  init(count: Int, seed: UInt64) {
    weights = randoms(count, seed: seed)
    m = Array(repeating: 0, count: count)
    v = m
    hi = weights.map { splitMaster($0).hi }
    lo = weights.map { splitMaster($0).lo }
  }

  mutating func updateWhole(_ step: AdamWStep, _ gradient: [Float], on workers: Workers) {
    update(step, &weights, &m, &v, gradient, workers)
  }

  mutating func updateHalves(_ step: AdamWStep, _ gradient: [Float], on workers: Workers) {
    update(step, &hi, &lo, &m, &v, gradient, workers)
  }
}

private func update(
  _ step: AdamWStep, _ weights: inout [Float], _ m: inout [Float], _ v: inout [Float],
  _ gradient: [Float], _ workers: Workers
) {
  var weightSpan = weights.mutableSpan
  var mSpan = m.mutableSpan
  var vSpan = v.mutableSpan
  step.update(weights: &weightSpan, m: &mSpan, v: &vSpan, gradient: gradient.span, on: workers)
}

private func update(
  _ step: AdamWStep, _ hi: inout [UInt16], _ lo: inout [UInt16], _ m: inout [Float],
  _ v: inout [Float], _ gradient: [Float], _ workers: Workers
) {
  var hiSpan = hi.mutableSpan
  var loSpan = lo.mutableSpan
  var mSpan = m.mutableSpan
  var vSpan = v.mutableSpan
  step.update(
    hi: &hiSpan, lo: &loSpan, m: &mSpan, v: &vSpan, gradient: gradient.span, on: workers)
}

private func randoms(_ count: Int, seed: UInt64) -> [Float] {
  let stream = Philox(seed: seed, purpose: .test)
  return (0..<count).map { 2 * stream.uniform(UInt32($0), 0, 0) - 1 }
}

@Suite struct AdamWTests {
  let optimizer = AdamW(beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weightDecay: 0.1)

  /// Goal: three steps equal PyTorch's formulas in Double. Tolerance: a weight below 1 is rounded a
  /// few times at 2^-24 in each step.
  @Test func threeStepsEqualTheFormulas() {
    let count = 100
    var state = State(count: count, seed: 1)
    var w = state.weights.map(Double.init)
    var (m, v) = (Array(repeating: 0.0, count: count), Array(repeating: 0.0, count: count))
    for t in 1...3 {
      let (rate, scale) = (0.01 * Double(t), 0.5)
      let gradient = randoms(count, seed: UInt64(10 + t))
      let step = optimizer.step(t, learningRate: rate, gradientScale: Float(scale))
      state.updateWhole(step, gradient, on: .inline)
      let (first, second) = ([0.1, 0.19, 0.271][t - 1], [0.02, 0.0396, 0.058808][t - 1])
      for i in 0..<count {
        let g = Double(gradient[i]) * scale
        w[i] -= rate * 0.1 * w[i]
        m[i] = 0.9 * m[i] + 0.1 * g
        v[i] = 0.98 * v[i] + 0.02 * g * g
        w[i] -= rate / first * m[i] / ((v[i] / second).squareRoot() + 1e-6)
      }
    }
    #expect(zip(state.weights, w).allSatisfy { abs(Double($0) - $1) < 5e-7 })
    #expect(zip(state.m, m).allSatisfy { abs(Double($0) - $1) < 1e-7 })
    #expect(zip(state.v, v).allSatisfy { abs(Double($0) - $1) < 1e-7 })
  }

  /// Goal: both forms of the weights, and any number of workers, give the same bits. 20,000
  /// elements are three tasks, the last one short.
  @Test(arguments: [1, 2, 3]) func halvesEqualWhole(threads: Int) {
    let workers = Workers(count: threads)
    var (halves, whole) = (State(count: 20_001, seed: 2), State(count: 20_001, seed: 2))
    for t in 1...3 {
      let gradient = randoms(20_001, seed: UInt64(20 + t))
      let step = optimizer.step(t, learningRate: 1e-3)
      halves.updateHalves(step, gradient, on: workers)
      whole.updateWhole(step, gradient, on: .inline)
    }
    let joined = zip(halves.hi, halves.lo).map { joinMaster(hi: $0, lo: $1).bitPattern }
    #expect(joined == whole.weights.map(\.bitPattern))
    #expect(halves.m.map(\.bitPattern) == whole.m.map(\.bitPattern))
    #expect(halves.v.map(\.bitPattern) == whole.v.map(\.bitPattern))
  }

  /// Goal: parts of one block, in one pass, are what each of them alone is, and what lies between them
  /// stays. Every parameter is announced once before it changes and once when it has, as it is then.
  @Test(arguments: [1, 3]) func partsEqualUpdatesOfTheirOwn(threads: Int) {
    let count = 300_001
    let steps = [1e-2, 1e-3].map { optimizer.step(1, learningRate: $0) }
    let parts = [
      AdamWPart(5..<70_000, steps[0]), AdamWPart(70_000..<70_100, steps[1]),
      AdamWPart(90_000..<count, steps[0]),
    ]
    let gradient = randoms(count, seed: 6)
    let start = State(count: count, seed: 5)
    var (expected, found) = (start, start)
    for part in parts {
      var own = State(count: 0, seed: 5)
      let range = part.elements
      (own.hi, own.lo) = (Array(start.hi[range]), Array(start.lo[range]))
      (own.m, own.v) = (Array(start.m[range]), Array(start.v[range]))
      own.updateHalves(part.step, Array(gradient[range]), on: .inline)
      expected.hi.replaceSubrange(range, with: own.hi)
      expected.lo.replaceSubrange(range, with: own.lo)
      expected.m.replaceSubrange(range, with: own.m)
      expected.v.replaceSubrange(range, with: own.v)
    }
    let calls = updateInParts(
      parts, &found.hi, &found.lo, &found.m, &found.v, gradient, on: Workers(count: threads))
    #expect(found.hi == expected.hi && found.lo == expected.lo)
    #expect(found.m == expected.m && found.v == expected.v)
    #expect(calls.before == start.hi.map { [$0] })
    #expect(calls.changed == expected.hi.map { [$0] })
  }

  /// The upper half of each weight at every call that announced it.
  private func updateInParts(
    _ parts: [AdamWPart], _ hi: inout [UInt16], _ lo: inout [UInt16], _ m: inout [Float],
    _ v: inout [Float], _ gradient: [Float], on workers: Workers
  ) -> (before: [[UInt16]], changed: [[UInt16]]) {
    let none = [[UInt16]](repeating: [], count: gradient.count)
    let before = Mutex(none)
    let changed = Mutex(none)
    var hiSpan = hi.mutableSpan
    var loSpan = lo.mutableSpan
    var mSpan = m.mutableSpan
    var vSpan = v.mutableSpan
    let weights = Fence(&hiSpan)
    updateParts(
      parts, hi: &hiSpan, lo: &loSpan, m: &mSpan, v: &vSpan, gradient: gradient.span, on: workers,
      before: { range in
        before.withLock { seen in
          for i in range { seen[i].append(weights.span(i..<i + 1)[0]) }
        }
      },
      changed: { range in
        changed.withLock { seen in
          for i in range { seen[i].append(weights.span(i..<i + 1)[0]) }
        }
      })
    return (before.withLock { $0 }, changed.withLock { $0 })
  }

  /// Goal: with no gradient ever, only decay moves a weight.
  @Test func decayIsDecoupled() {
    var state = State(count: 9, seed: 3)
    let before = state.weights
    let zero = Array(repeating: Float(0), count: 9)
    state.updateWhole(optimizer.step(1, learningRate: 0.5), zero, on: .inline)
    #expect(state.weights == before.map { $0 * 0.95 })
  }

  @Test func anEmptyUpdateDoesNothing() {
    var state = State(count: 0, seed: 4)
    state.updateHalves(optimizer.step(1, learningRate: 1), [], on: .inline)
    #expect(state.hi.isEmpty)
  }
}

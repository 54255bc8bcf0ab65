import Base
import Kernels
import Optimizers

/// A block's planes as arrays, and the slow twin of `BlockStep`: one parameter after another, straight
/// from the description of the formats.
struct PlainBlock: Equatable {
  let states: StatePrecision
  var hi: [UInt16]
  var lo: [UInt16]
  var m: [UInt8]
  var v: [UInt8]

  init(weights: [Float], _ states: StatePrecision, _ master: MasterPrecision) {
    self.states = states
    hi = weights.map { splitMaster($0).hi }
    lo = master == .fp32 ? weights.map { splitMaster($0).lo } : []
    m = Array(repeating: 0, count: states.byteCount(weights.count))
    v = m
  }

  var count: Int { hi.count }
  var weights: [Float] {
    lo.isEmpty ? hi.map { widen($0) } : zip(hi, lo).map { joinMaster(hi: $0, lo: $1) }
  }

  mutating func update(_ step: BlockStep, _ gradient: [Float], on workers: Workers) {
    Self.update(step, &hi, &lo, &m, &v, gradient, workers)
  }

  private static func update(
    _ step: BlockStep, _ hi: inout [UInt16], _ lo: inout [UInt16], _ m: inout [UInt8],
    _ v: inout [UInt8], _ gradient: [Float], _ workers: Workers
  ) {
    var hiSpan = hi.mutableSpan
    var loSpan = lo.mutableSpan
    var mSpan = m.mutableSpan
    var vSpan = v.mutableSpan
    step.update(
      hi: &hiSpan, lo: &loSpan, m: &mSpan, v: &vSpan, gradient: gradient.span, on: workers)
  }

  // MARK: The twin

  /// The squares of the last codes: a moment is its scale times c |c|, or (c^2)^2, by these.
  private static let (firstSteps, secondSteps): (Float, Float) = (127 * 127, 255 * 255)

  struct Rates {
    let adam: AdamW
    let index: Int
    let rate: Double
    /// For parameters from here on nothing decays.
    let matrixParameters: Int
    let (seed, step, block): (UInt64, Int, BlockID)
  }

  mutating func updatePlainly(_ rates: Rates, _ gradient: [Float]) {
    let (firsts, seconds) = (moments(m, .first), moments(v, .second))
    var (newM, newV) = (firsts, seconds)
    var undecayed = rates.adam
    undecayed.weightDecay = 0
    for i in 0..<count {
      let adam = i < rates.matrixParameters ? rates.adam : undecayed
      let step = adam.step(rates.index, learningRate: rates.rate)
      var weight = [weights[i]]
      var (mean, square) = ([firsts[i]], [seconds[i]])
      var wSpan = weight.mutableSpan
      var mSpan = mean.mutableSpan
      var vSpan = square.mutableSpan
      step.update(
        weights: &wSpan, m: &mSpan, v: &vSpan, gradient: [gradient[i]].span, on: .inline)
      (newM[i], newV[i]) = (mean[0], square[0])
      if lo.isEmpty {
        let noise = Self.noise(rates, .weightRounding, i)
        hi[i] = UInt16((weight[0].bitPattern + UInt32(noise)) >> 16)
      } else {
        (hi[i], lo[i]) = splitMaster(weight[0])
      }
    }
    m = encoded(newM, .first) { Self.noise(rates, .momentRounding, $0).byteSwapped }
    v = encoded(newV, .second) { Self.noise(rates, .momentRounding, $0) }
  }

  /// The number that parameter `index` is rounded by, from the words of one counter.
  static func noise(_ rates: Rates, _ purpose: RandomPurpose, _ index: Int) -> UInt16 {
    let key = Philox(seed: rates.seed, purpose: purpose).words(
      UInt32(truncatingIfNeeded: rates.step), UInt32(truncatingIfNeeded: rates.step >> 32), 0)
    let stream = Philox(seed: UInt64(key.x) | UInt64(key.y) << 32, purpose: purpose)
    let raw = rates.block.rawValue
    // 64 numbers of eight counters, 4 of each: of words 0 and 1, then as many of words 2 and 3.
    let (part, half, lane) = (index % 256 / 64, index % 64 / 32, index % 32 / 4)
    let words = stream.words(
      UInt32(truncatingIfNeeded: raw), UInt32(truncatingIfNeeded: raw >> 32),
      UInt32(index / 1024 * 32 + 8 * part + lane))
    let number = words[2 * half + index % 4 / 2] >> (16 * UInt32(index % 2))
    return UInt16(truncatingIfNeeded: number) &+ UInt16(index % 1024 / 256 * 0x4040)
  }

  func moments(_ plane: [UInt8], _ moment: Moment) -> [Float] {
    (0..<count).map { i in
      switch states {
      case .fp32: return Self.float(plane, at: 4 * i)
      case .bf16: return widen(UInt16(plane[2 * i]) | UInt16(plane[2 * i + 1]) << 8)
      case .int8:
        let scale = Self.float(plane, at: (count + 3) / 4 * 4 + 4 * (i / 256))
        switch moment {
        case .first:
          let c = Float(Int8(bitPattern: plane[i]))
          return c * abs(c) * (1 / Self.firstSteps) * scale
        case .second:
          let root = Float(plane[i]) * Float(plane[i]) * (1 / Self.secondSteps)
          return root * root * scale
        }
      }
    }
  }

  private func encoded(_ values: [Float], _ moment: Moment, noise: (Int) -> UInt16) -> [UInt8] {
    var plane: [UInt8] = []
    // A group of less is all zeros.
    let least: Float = moment == .first ? 0x1p-100 : 0x1p-126
    for (i, value) in values.enumerated() {
      switch states {
      case .fp32: plane += Self.bytes(value.bitPattern)
      case .bf16:
        plane += Self.bytes((value.bitPattern + UInt32(noise(i))) >> 16).prefix(2)
      case .int8:
        let group = values[i / 256 * 256..<min(values.count, (i / 256 + 1) * 256)]
        let scale = group.map(abs).max() ?? 0
        plane.append(scale < least ? 0 : Self.code(value, scale, moment, noise(i)))
      }
    }
    guard states == .int8 else { return plane }
    plane += Array(repeating: 0, count: (4 - count % 4) % 4)
    for first in stride(from: 0, to: count, by: 256) {
      let scale = values[first..<min(count, first + 256)].map(abs).max() ?? 0
      plane += Self.bytes(scale < least ? 0 : scale.bitPattern)
    }
    return plane
  }

  private static func code(
    _ value: Float, _ scale: Float, _ moment: Moment, _ noise: UInt16
  ) -> UInt8 {
    switch moment {
    case .first:
      let share = min(abs(value) * (firstSteps / scale).nextUp, firstSteps)
      var c = floor(share.squareRoot())
      if Float(noise) / 65536 * (2 * c + 1) < share - c * c { c += 1 }
      return UInt8(bitPattern: Int8(value < 0 ? -c : c))
    case .second:
      let factor = (secondSteps / scale.squareRoot()).nextUp
      let root = min(value.squareRoot() * factor, secondSteps)
      var c = floor(root.squareRoot())
      let (low, next) = (fourthPower(c), fourthPower(c + 1))
      if Double(noise) / 65536 * (next - low) < Double(root * root) - low { c += 1 }
      return value == 0 ? 0 : UInt8(max(1, c))
    }
  }

  private static func fourthPower(_ x: Float) -> Double { Double(x * x) * Double(x * x) }
  private static func floor(_ x: Float) -> Float { x.rounded(.down) }
  private static func float(_ bytes: [UInt8], at i: Int) -> Float {
    Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[i + $1]) << (8 * $1) })
  }
  private static func bytes(_ word: UInt32) -> [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) }
  }
}

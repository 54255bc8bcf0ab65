import Base
import Kernels
import Testing

@Suite struct RoundingNoiseTests {
  private func numbers(_ noise: RoundingNoise, groups: Range<Int>) -> [[UInt16]] {
    var numbers = [UInt16](repeating: 0, count: 256)
    return groups.map { group in
      var span = numbers.mutableSpan
      noise.advance(&span, to: group)
      return numbers
    }
  }

  private let block = BlockID.expert(layer: 2, 7, slice: 3)

  /// Goal: the numbers are those of single counters, in the order that is documented.
  @Test func wordsAreThoseOfPhilox() {
    let noise = RoundingNoise(seed: 5, purpose: .momentRounding, step: 9, block: block)
    let key = Philox(seed: 5, purpose: .momentRounding).words(9, 0, 0)
    let stream = Philox(
      seed: UInt64(key.x) | UInt64(key.y) << 32, purpose: .momentRounding)
    let found = numbers(noise, groups: 4..<5)[0]
    var wanted: [UInt16] = []
    for part in 0..<4 {
      for half in 0..<2 {
        for lane in 0..<8 {
          let words = stream.words(
            UInt32(truncatingIfNeeded: block.rawValue),
            UInt32(truncatingIfNeeded: block.rawValue >> 32), UInt32(32 + 8 * part + lane))
          for word in [words[2 * half], words[2 * half + 1]] {
            wanted += [UInt16(truncatingIfNeeded: word), UInt16(word >> 16)]
          }
        }
      }
    }
    #expect(found == wanted)
  }

  /// Goal: a task may begin at any set; the four groups of one are a quarter of the range apart.
  @Test func setsStandAlone() {
    let noise = RoundingNoise(seed: 1, purpose: .weightRounding, step: 1, block: block)
    let all = numbers(noise, groups: 0..<12)
    #expect(all.suffix(4).elementsEqual(numbers(noise, groups: 8..<12)))
    #expect(all[5] == all[4].map { $0 &+ 0x4040 } && all[7] == all[4].map { $0 &+ 0xc0c0 })
    #expect(all[4] != all[0] && all[8] != all[4])
  }

  /// Goal: each number is even on its range. 65,536 of them, in 16 bins: chi squared of 15 degrees is
  /// below 38 in 999 of 1000 cases.
  @Test func numbersAreEven() {
    var bins = [Double](repeating: 0, count: 16)
    for step in 1...64 {
      let noise = RoundingNoise(seed: 3, purpose: .weightRounding, step: step, block: block)
      for number in numbers(noise, groups: 0..<1)[0] { bins[Int(number >> 12)] += 1 }
      for number in numbers(noise, groups: 8..<11).flatMap(\.self) { bins[Int(number >> 12)] += 1 }
    }
    let mean = bins.reduce(0, +) / 16
    #expect(bins.reduce(0) { $0 + ($1 - mean) * ($1 - mean) / mean } < 38)
  }

  /// Goal: over all numbers the mean is the weight, exactly, and a bfloat16 stays.
  @Test(arguments: [Float(1.2345), -0.0078, 0x1p-130, -1.9999, 0, 1.5])
  func meansAreTheWeights(_ weight: Float) {
    let sum = (0...UInt16.max).reduce(0.0) {
      $0 + Double(widen(roundedStochastically(weight, $1)))
    }
    #expect(abs(sum / 65536 - Double(weight)) <= 1e-12 * abs(Double(weight)))
    let exact = widen(splitMaster(weight).hi)
    #expect(roundedStochastically(exact, .max) == splitMaster(weight).hi)
  }
}

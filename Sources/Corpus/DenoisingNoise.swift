package import Base

/// How a text is damaged for denoising: spans of tokens are each replaced by one mask, as in T5
/// (Raffel et al., "Exploring the limits of transfer learning", 2020, section 3.3.4), and single
/// tokens of the rest are deleted without a trace.
package struct DenoisingNoise: Codable, Equatable, Sendable {
  /// Share of the tokens that spans cover.
  package var maskRate = 0.3
  /// Tokens of a span, on average.
  package var spanTokensMean = 3.0
  /// Share of the remaining tokens that are deleted.
  package var deletionRate = 0.05

  package init() {}

  /// A sequence of random numbers for one text: the counter's first two words name the text, the
  /// third counts.
  package struct Draws {
    private let stream: Philox
    private let a: UInt32
    private let b: UInt32
    private var next: UInt32 = 0

    package init(stream: Philox, _ a: UInt32, _ b: UInt32) {
      (self.stream, self.a, self.b) = (stream, a, b)
    }

    mutating func unit() -> Double {
      defer { next += 1 }
      return Double(stream.uniform(a, b, next))
    }
  }

  /// `tokens` with noise; never empty unless `tokens` is.
  package func damaged(_ tokens: ArraySlice<UInt16>, mask: Int32, _ draws: inout Draws) -> [Int32] {
    let covered = maskedTokens(tokens.count, &draws)
    var result: [Int32] = []
    result.reserveCapacity(tokens.count)
    for (i, token) in tokens.enumerated() {
      if covered[i] {
        if i == 0 || !covered[i - 1] { result.append(mask) }
      } else if draws.unit() >= deletionRate {
        result.append(Int32(token))
      }
    }
    return result.isEmpty ? tokens.map { Int32($0) } : result
  }

  /// Which of `count` tokens spans cover. Spans do not touch, so that each keeps its mask.
  private func maskedTokens(_ count: Int, _ draws: inout Draws) -> [Bool] {
    // Rounded up with the probability of the fraction: short texts get the rate on average.
    let covered = min(Int(Double(count) * maskRate + draws.unit()), count)
    let kept = count - covered
    guard covered > 0 else { return [Bool](repeating: false, count: count) }
    let wanted = Int(Double(covered) / spanTokensMean + draws.unit())
    let spans = min(max(wanted, 1), covered, kept + 1)

    let spanLengths = Self.composition(of: covered, parts: spans, &draws)
    // Between two spans stands at least one token; before the first and after the last may be none.
    var gapLengths = Self.composition(of: kept + 2, parts: spans + 1, &draws)
    gapLengths[0] -= 1
    gapLengths[spans] -= 1

    var mask: [Bool] = []
    for i in 0..<spans {
      mask += [Bool](repeating: false, count: gapLengths[i])
      mask += [Bool](repeating: true, count: spanLengths[i])
    }
    return mask + [Bool](repeating: false, count: gapLengths[spans])
  }

  /// `total` as a sum of `parts` positive numbers, every way equally likely: cuts are taken from
  /// the places between units by selection sampling (Knuth, TAOCP 3.4.2, algorithm S).
  static func composition(of total: Int, parts: Int, _ draws: inout Draws) -> [Int] {
    precondition(1 <= parts && parts <= total, "every part gets a unit")
    var lengths: [Int] = []
    var length = 0
    for place in 1..<total {
      length += 1
      let cutsLeft = parts - 1 - lengths.count
      if draws.unit() * Double(total - place) < Double(cutsLeft) {
        lengths.append(length)
        length = 0
      }
    }
    return lengths + [length + 1]
  }
}

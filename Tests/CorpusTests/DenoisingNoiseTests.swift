import Base
import Corpus
import Testing

private let mask: Int32 = -1

private func damaged(_ count: Int, draw: Int, _ noise: DenoisingNoise = DenoisingNoise()) -> [Int32]
{
  var draws = DenoisingNoise.Draws(
    stream: Philox(seed: 3, purpose: .denoising), UInt32(draw), 0)
  return noise.damaged(ArraySlice(0..<UInt16(count)), mask: mask, &draws)
}

/// Tokens are their own positions, so what is left tells what was masked and what was deleted.
@Test func noiseHasItsRates() {
  let (texts, count) = (4000, 40)
  var (kept, spans) = (0, 0)
  for draw in 0..<texts {
    let tokens = damaged(count, draw: draw)
    kept += tokens.count { $0 != mask }
    spans += tokens.count { $0 == mask }
    let positions = tokens.filter { $0 != mask }
    #expect(zip(positions, positions.dropFirst()).allSatisfy { $0 < $1 })
  }
  let all = Double(texts * count)
  // 30 % is masked by spans of three, exactly 12 tokens of each text; 5 % of the rest is deleted.
  #expect(spans == texts * 4)
  let sigma = (all * 0.7 * 0.05 * 0.95).squareRoot()
  #expect(abs(Double(kept) - all * 0.7 * 0.95) < 4 * sigma)
}

/// Rounding is by chance, so that short texts get the rate on average.
@Test func shortTextsGetTheRateOnAverage() {
  var noise = DenoisingNoise()
  noise.deletionRate = 0
  let texts = 20_000
  let kept = (0..<texts).reduce(0) { $0 + damaged(4, draw: $1, noise).count { $0 != mask } }
  let covered = Double(4 * texts - kept)
  // Each text covers one or two of its four tokens; the variance of that is 0.2 x 0.8.
  #expect(abs(covered - 1.2 * Double(texts)) < 4 * (Double(texts) * 0.16).squareRoot())
}

/// With 6 of 20 tokens in two spans there are C(15, 2) = 105 ways to place the gaps, and 14 of them
/// begin with a span; so with the end.
@Test func spansFallAnywhere() {
  var noise = DenoisingNoise()
  noise.deletionRate = 0
  let (texts, count) = (8000, 20)
  var masked = [Double](repeating: 1, count: count)
  for draw in 0..<texts {
    for token in damaged(count, draw: draw, noise) where token != mask {
      masked[Int(token)] -= 1 / Double(texts)
    }
  }
  let due = 14.0 / 105
  let sigma = (due * (1 - due) / Double(texts)).squareRoot()
  #expect(abs(masked[0] - due) < 4 * sigma)
  #expect(abs(masked[count - 1] - due) < 4 * sigma)
  #expect(masked.dropFirst().dropLast().allSatisfy { due < $0 && $0 < 0.5 })
  #expect(abs(masked.reduce(0, +) - 6) < 1e-6)
}

@Test func extremeRatesStayInBounds() {
  var noise = DenoisingNoise()
  (noise.maskRate, noise.deletionRate) = (1, 1)
  for count in 1...9 {
    let tokens = damaged(count, draw: count, noise)
    #expect(tokens == [mask])
  }
  (noise.maskRate, noise.deletionRate) = (0, 1)
  #expect(damaged(3, draw: 0, noise) == [0, 1, 2])
  #expect(damaged(0, draw: 0).isEmpty)
}

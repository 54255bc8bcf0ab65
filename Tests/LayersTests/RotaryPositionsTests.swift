import Glibc
import Layers
import Testing

/// Frequencies of heads of 8 columns with base 10000: 1, 0.1, 0.01, 0.001.
@Suite struct RotaryPositionsTests {
  private func frequencies(_ scaling: RotaryPositions.Scaling) -> [Double] {
    RotaryPositions(base: 10_000, scaling: scaling).frequencies(headWidth: 8)
  }
  private func expect(
    _ found: [Double], _ expected: [Double], sourceLocation: SourceLocation = #_sourceLocation
  ) {
    #expect(found.count == expected.count, sourceLocation: sourceLocation)
    for (a, b) in zip(found, expected) {
      #expect(abs(a - b) < 1e-12 * b, "\(found)", sourceLocation: sourceLocation)
    }
  }

  @Test func pairsTurnSlowerAndSlower() { expect(frequencies(.none), [1, 0.1, 0.01, 0.001]) }

  @Test func linearSlowsAllDownAlike() {
    expect(frequencies(.linear(factor: 4)), [0.25, 0.025, 0.0025, 0.00025])
  }

  /// Within 400 pi positions the pairs turn 200, 20, 2 and 0.2 times.
  @Test func byTurnsSparesTheFastOnes() {
    let found = frequencies(.byTurns(factor: 4, slow: 1, fast: 5, length: 400 * .pi))
    expect(found, [1, 0.1, 0.01 * (0.75 / 4 + 0.25), 0.00025])
  }

  /// Pair n turns 20 * 10^-(n - 1) times: 20 turns are pair 1, 0.2 turns pair 3, pair 2 is halfway.
  @Test func rampGoesFromPairToPair() {
    func found(_ slow: Double, _ fast: Double, isRounded: Bool) -> [Double] {
      frequencies(
        .ramp(
          factor: 4, slow: slow, fast: fast, length: 400 * .pi, isRounded: isRounded, amplitude: 1))
    }
    expect(found(0.2, 20, isRounded: false), [1, 0.1, 0.01 * 0.625, 0.00025])
    // Between pairs: outwards to whole ones.
    expect(found(0.3, 10, isRounded: true), [1, 0.1, 0.01 * 0.625, 0.00025])
    #expect(abs(found(0.3, 10, isRounded: false)[2] - 0.01 * 0.625) > 1e-4)
  }

  @Test func amplitudeIsTheRamps() {
    #expect(RotaryPositions(base: 2).amplitude == 1)
    let scaling = RotaryPositions.Scaling.ramp(
      factor: 4, slow: 1, fast: 32, length: 16, isRounded: true, amplitude: 1.25)
    #expect(RotaryPositions(base: 2, scaling: scaling).amplitude == 1.25)
  }
}

import Glibc
import Kernels
import Layers
import TestSupport
import Testing

@Suite struct TokenSamplerTests {
  private static let values: [Float] = [0.5, -1, 2, 1.5, 0, -3, 1.5]

  private func logits(_ values: [Float] = Self.values) -> Matrix {
    let logits = Matrix(rows: 1, columns: values.count)
    logits.assign(values)
    return logits
  }

  /// How often each token is drawn, as a share.
  private func shares(_ sampler: TokenSampler, draws: Int = 20_000) throws -> [Double] {
    var counts = [Int](repeating: 0, count: Self.values.count)
    for draw in 0..<draws {
      let choice = try #require(
        sampler.draw(logits(), sequence: draw % 100, position: draw / 100))
      counts[Int(choice.token)] += 1
    }
    return counts.map { Double($0) / Double(draws) }
  }

  /// The probabilities of `kept`, others 0.
  private func expected(_ kept: Set<Int>, temperature: Double = 1) -> [Double] {
    let weights = Self.values.enumerated().map { index, value in
      kept.contains(index) ? exp(Double(value) / temperature) : 0
    }
    let sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
  }

  /// Four standard deviations of 20000 draws are 0.014 at most. Never drawn is exactly 0.
  private func expect(_ shares: [Double], near expected: [Double]) {
    for (share, expected) in zip(shares, expected) {
      #expect(expected == 0 ? share == 0 : abs(share - expected) < 0.014, "\(share), \(expected)")
    }
  }

  @Test(arguments: [0.5, 1, 2]) func drawsFollowTheProbabilities(_ temperature: Double) throws {
    let sampler = TokenSampler(temperature: Float(temperature), seed: 5)
    try expect(shares(sampler), near: expected(Set(0..<7), temperature: temperature))
  }

  @Test func onlyTheKLikeliest() throws {
    let sampler = TokenSampler(topK: 2, seed: 6)
    try expect(shares(sampler), near: expected([2, 3]))
  }

  /// The probabilities are 0.38, 0.23, 0.23, 0.08, 0.05, 0.02 and 0.003, of tokens 2, 3, 6, 0, 4, 1
  /// and 5: the first that reach p together.
  @Test func onlyTheNucleus() throws {
    for (p, kept) in [
      (0.3, [2]), (0.5, [2, 3]), (0.7, [2, 3, 6]), (0.9, [2, 3, 6, 0]),
      (0.999, Set(0..<7)),
    ] as [(Float, Set<Int>)] {
      let sampler = TokenSampler(topP: p, seed: 7)
      try expect(shares(sampler, draws: 20_000), near: expected(kept))
    }
  }

  /// The nucleus is of what the k likeliest left, at the temperature: of two, 0.62 and 0.38.
  @Test func kComesBeforeP() throws {
    try expect(shares(TokenSampler(topK: 2, topP: 0.6, seed: 8)), near: expected([2]))
    try expect(shares(TokenSampler(topK: 2, topP: 0.65, seed: 8)), near: expected([2, 3]))
    let flat = TokenSampler(temperature: 10, topP: 0.5, seed: 8)
    try expect(shares(flat), near: expected([2, 3, 6, 0], temperature: 10))
  }

  @Test func withoutTemperatureTheLikeliest() throws {
    let likeliest = TokenChoice.likeliest(1, of: logits())
    for temperature in [0, 1e-6, 1e-3] as [Float] {
      let sampler = TokenSampler(temperature: temperature, seed: 9)
      for position in 0..<50 {
        let choice = try #require(sampler.draw(logits(), sequence: 1, position: position))
        #expect(choice.token == 2)
        #expect(abs(choice.logProbability - likeliest[0].logProbability) < 1e-6)
      }
    }
  }

  /// A choice says how likely the model finds it, whatever is cut.
  @Test func probabilitiesAreTheModels() throws {
    let sampler = TokenSampler(temperature: 0.7, topK: 4, topP: 0.9, seed: 10)
    let all = expected(Set(0..<7))
    for position in 0..<50 {
      let choice = try #require(sampler.draw(logits(), sequence: 3, position: position))
      #expect(abs(Double(choice.logProbability) - log(all[Int(choice.token)])) < 1e-5)
    }
  }

  @Test func aDrawDependsOnSeedSequenceAndPosition() throws {
    func draws(_ seed: UInt64, _ sequence: Int) throws -> [Int32] {
      let sampler = TokenSampler(temperature: 2, seed: seed)
      return try (0..<40).map {
        try #require(sampler.draw(logits(), sequence: sequence, position: $0)).token
      }
    }
    #expect(try draws(1, 0) == draws(1, 0))
    #expect(try draws(1, 0) != draws(2, 0))
    #expect(try draws(1, 0) != draws(1, 1))
  }
}

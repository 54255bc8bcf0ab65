import Glibc
import Kernels
import Layers
import TestSupport
import Testing

@Suite struct TokenChoiceTests {
  /// In Double, by sorting.
  private func expected(_ logits: [Float], _ count: Int) -> [(token: Int32, log: Double)] {
    let sum = logits.reduce(0.0) { $0 + exp(Double($1)) }
    return logits.indices.sorted { (logits[$1], $0) < (logits[$0], $1) }.prefix(count)
      .map { (Int32($0), Double(logits[$0]) - log(sum)) }
  }

  @Test(arguments: [1, 2, 7, 40, 60], [40, 128, 700])
  func theLikeliestInOrder(_ count: Int, of vocabulary: Int) {
    let logits = testMatrix(1, vocabulary, seed: 3)
    let wanted = expected(logits.values, count)
    let found = TokenChoice.likeliest(count, of: logits)
    #expect(found.map(\.token) == wanted.map(\.token))
    for (choice, wanted) in zip(found, wanted) {
      #expect(abs(Double(choice.logProbability) - wanted.log) < 1e-6)
    }
  }

  @Test func theLowerTokenComesFirstAmongEquals() {
    let logits = Matrix(rows: 1, columns: 6)
    logits.assign([1, 5, 2, 5, 5, -9])
    #expect(TokenChoice.likeliest(4, of: logits).map(\.token) == [1, 3, 4, 2])
    logits.assign([4, 4, 4, 4, 4, 4])
    #expect(TokenChoice.likeliest(2, of: logits).map(\.token) == [0, 1])
  }

  @Test func whatIsNoNumberIsNoChoice() {
    let logits = Matrix(rows: 1, columns: 3)
    logits.assign([.nan, .nan, .nan])
    #expect(TokenChoice.likeliest(2, of: logits).isEmpty)
    #expect(TokenSampler(seed: 1).draw(logits, sequence: 0, position: 0) == nil)
  }
}

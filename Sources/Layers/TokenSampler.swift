import Base
import Glibc
package import Kernels

/// Draws tokens from softmax(logits / temperature), cut to the k likeliest and then to the nucleus:
/// the fewest whose probabilities reach p together (Holtzman et al., "The curious case of neural
/// text degeneration", 2020), in the order that transformers cuts.
///
/// A draw is a function of the logits and (seed, sequence, position), whatever else is drawn beside.
package struct TokenSampler: Sendable {
  /// 0: always the likeliest.
  package let temperature: Float
  /// nil: all.
  package let topK: Int?
  package let topP: Float
  private let stream: Philox

  package init(temperature: Float = 1, topK: Int? = nil, topP: Float = 1, seed: UInt64) {
    precondition(temperature >= 0 && temperature.isFinite, "a temperature is not negative")
    precondition(topK.map { $0 > 0 } ?? true, "at least one token")
    precondition(topP > 0 && topP <= 1, "a share of the probability")
    (self.temperature, self.topK, self.topP) = (temperature, topK, topP)
    stream = Philox(seed: seed, purpose: .decoding)
  }

  /// A token by the logits [1, V], with its probability before temperature and cuts; nil where
  /// logits are no numbers. Overwrites the logits.
  package func draw(_ logits: Matrix, sequence: Int, position: Int) -> TokenChoice? {
    precondition(logits.rows == 1, "the logits of one row")
    guard temperature > 0 else { return TokenChoice.likeliest(1, of: logits).first }
    let row = logits.row(0)
    let maximum = largest(row)
    guard maximum.isFinite else { return nil }
    let likeliest = topK.map { indicesOfLargest($0, of: row) }
    var (total, weights) = (0.0, 0.0)
    for j in 0..<row.count {
      let distance = row[j] - maximum
      total += Double(exponential(distance))
      row[j] = exponential(distance / temperature)
      weights += Double(row[j])
    }
    guard weights.isFinite else { return nil }
    let order = topP < 1 ? nucleus(row, likeliest, total: weights) : likeliest
    let uniform = uniform(sequence, position)
    let token =
      order.map { pick(row, $0, uniform) } ?? pick(row, 0..<row.count, uniform)
    return TokenChoice(
      token: Int32(token), logProbability: temperature * logf(row[token]) - Float(log(total)))
  }

  /// The fewest tokens that reach the share p of all weights, or of those of the k likeliest.
  private func nucleus(_ weights: borrowing Row, _ likeliest: [Int]?, total: Double) -> [Int] {
    var (order, total) = (likeliest ?? [], total)
    if likeliest == nil {
      // All tokens below this together do not reach 1 - p: there is no need to sort them.
      let least = Float((1 - Double(topP)) * total / Double(weights.count))
      for j in 0..<weights.count where weights[j] >= least { order.append(j) }
      let values = order.map { weights[$0] }
      order = order.indices.sorted { (values[$1], order[$0]) < (values[$0], order[$1]) }
        .map { order[$0] }
    } else {
      total = 0
      for j in order { total += Double(weights[j]) }
    }
    var (count, before) = (0, 0.0)
    while count < order.count, before < Double(topP) * total {
      before += Double(weights[order[count]])
      count += 1
    }
    return Array(order.prefix(count))
  }

  /// The first token of `order` with which the weights pass the share `uniform` of their sum.
  private func pick(
    _ weights: borrowing Row, _ order: some Collection<Int>, _ uniform: Double
  ) -> Int {
    var total = 0.0
    for j in order { total += Double(weights[j]) }
    var (sum, last) = (0.0, 0)
    for j in order where weights[j] > 0 {
      (sum, last) = (sum + Double(weights[j]), j)
      if sum > uniform * total { break }
    }
    return last
  }

  /// In [0, 1), 53 bits.
  private func uniform(_ sequence: Int, _ position: Int) -> Double {
    let words = stream.words(
      UInt32(truncatingIfNeeded: sequence), UInt32(truncatingIfNeeded: position),
      UInt32(truncatingIfNeeded: sequence >> 32))
    return Double(UInt64(words.x) << 21 | UInt64(words.y) >> 11) * 0x1p-53
  }
}

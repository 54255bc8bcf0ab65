import Glibc
package import Kernels

/// A token that may come next, and the logarithm of its probability.
package struct TokenChoice: Sendable, Equatable {
  package let token: Int32
  package let logProbability: Float

  package init(token: Int32, logProbability: Float) {
    (self.token, self.logProbability) = (token, logProbability)
  }
}

extension TokenChoice {
  /// The `count` likeliest tokens of the logits [1, V], likeliest first, the lower one first among
  /// equals; fewer where the vocabulary is smaller or logits are no numbers. Overwrites the logits.
  package static func likeliest(_ count: Int, of logits: Matrix) -> [TokenChoice] {
    precondition(logits.rows == 1, "the logits of one row")
    let row = logits.row(0)
    let best = indicesOfLargest(count, of: row)
    let values = best.map { row[$0] }
    let maximum = largest(row)
    let logSum = maximum + logf(exponentiate(row, minus: maximum))
    return zip(best, values).map {
      TokenChoice(token: Int32($0), logProbability: $1 - logSum)
    }
  }
}

/// Where the `count` largest elements are, largest first, the lower index first among equals.
///
/// Nearly all of a long row is below what was found by then: it is looked at by the maxima of
/// blocks, which vectorise.
func indicesOfLargest(_ count: Int, of x: borrowing Row) -> [Int] {
  precondition(count > 0, "at least one element")
  var best: [Int] = []
  best.reserveCapacity(count + 1)
  var least = -Float.infinity
  for start in stride(from: 0, to: x.count, by: 128) {
    let block = start..<min(start + 128, x.count)
    if best.count == count, largest(x.part(block)) <= least { continue }
    for j in block where best.count < count ? !x[j].isNaN : x[j] > least {
      var place = best.count
      while place > 0, x[j] > x[best[place - 1]] { place -= 1 }
      best.insert(j, at: place)
      if best.count > count { best.removeLast() }
      least = x[best[best.count - 1]]
    }
  }
  return best
}

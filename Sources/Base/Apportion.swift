/// `total` in whole parts in proportion to `weights`: rounded down, and the rest to those that lost
/// most, earlier ones first.
package func apportion(_ total: Int, _ weights: [Int]) -> [Int] {
  let sum = weights.reduce(0, +)
  precondition(sum > 0, "some part has a weight")
  var parts = weights.map { total * $0 / sum }
  let byLoss = weights.indices.sorted {
    (total * weights[$1] % sum, $0) < (total * weights[$0] % sum, $1)
  }
  for index in byLoss.prefix(total - parts.reduce(0, +)) { parts[index] += 1 }
  return parts
}

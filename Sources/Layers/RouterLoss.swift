import Kernels

/// The load-balancing loss and the z-loss of the gates of a micro-batch, pooled over layers as
/// transformers does: the balance loss E * sum over e of f[e] P[e], f the share of choices and P the
/// mean probability of expert e over the counted tokens of all layers (Fedus, Zoph and Shazeer,
/// 2021); the z-loss is the mean square of log sum exp (Zoph et al., "ST-MoE", 2022).
///
/// A group is what one balance loss is of: the whole micro-batch, or one sequence; the loss is the
/// mean over groups. Sums are made in the order of tokens, so they depend on nothing else.
package struct RouterLoss: Sendable {
  /// What an expert's share of choices counts.
  package enum Share: Sendable {
    /// Choices, with room or not.
    case choices
    /// Choices that have room; each dropped one counts for expert 0, as an argmax over an empty mask
    /// does.
    case keptOrFirst
    /// First choices, with room or not.
    case firstChoices
  }

  package let experts: Int
  package let there: Int
  package let share: Share
  private var groups: [Group]
  private var squares = 0.0
  private var tokens = 0

  fileprivate struct Group: Sendable {
    var tokens = 0
    var choices: [Int]
    var probabilities: [Double]
  }

  /// - Parameter there: of the experts, those that are not pruned: what the loss is E of.
  package init(experts: Int, there: Int? = nil, groups: Int, share: Share) {
    precondition(experts > 0 && groups > 0, "something to balance")
    (self.experts, self.there, self.share) = (experts, there ?? experts, share)
    self.groups = Array(
      repeating: Group(
        choices: Array(repeating: 0, count: experts),
        probabilities: Array(repeating: 0, count: experts)), count: groups)
  }

  /// Adds a layer.
  /// - Parameters:
  ///   - group: the group of each token.
  ///   - isCounted: false for tokens that the balance loss leaves out; nil: it has all.
  package mutating func add(_ routing: Routing, group: [Int], isCounted: [Bool]? = nil) {
    precondition(group.count == routing.tokens, "a group per token")
    precondition(routing.logSumExp.count == routing.tokens, "the gate kept log sum exp")
    tokens += routing.tokens
    for token in 0..<routing.tokens {
      squares += Double(routing.logSumExp[token]) * Double(routing.logSumExp[token])
      if isCounted?[token] ?? true { groups[group[token]].add(routing, token, share) }
    }
  }

  /// Mean over groups of E * sum over e of f[e] P[e].
  package var balance: Double {
    groups.reduce(0) { $0 + $1.balance(there) } / Double(groups.count)
  }

  /// Mean over tokens and layers of the square of log sum exp.
  package var z: Double { tokens == 0 ? 0 : squares / Double(tokens) }

  /// What the losses, multiplied by their coefficients, add to the gradients of one layer. The
  /// shares of choices count as constants.
  package func gradient(
    balanceScale: Float, zScale: Float, group: [Int], isCounted: [Bool]? = nil
  ) -> RouterLossGradient {
    let perGroup = groups.map { group in
      group.gradient(scale: Double(balanceScale) / Double(groups.count), there)
    }
    let z = tokens == 0 ? 0 : 2 * Double(zScale) / Double(tokens)
    return RouterLossGradient(
      perGroup: perGroup, group: group, isCounted: isCounted, zScale: Float(z))
  }
}

extension RouterLoss.Group {
  mutating func add(_ routing: Routing, _ token: Int, _ share: RouterLoss.Share) {
    tokens += 1
    let p = routing.probabilities.row(token)
    for expert in 0..<p.count { probabilities[expert] += Double(p[expert]) }
    let k = routing.choicesPerToken
    let counted = share == .firstChoices ? 1 : k
    for number in token * k..<token * k + counted where routing.choice[number] >= 0 {
      let isLost = share == .keptOrFirst && !routing.kept[number]
      choices[isLost ? 0 : Int(routing.choice[number])] += 1
    }
  }

  func balance(_ experts: Int) -> Double {
    guard tokens > 0 else { return 0 }
    let products = zip(choices, probabilities).reduce(0) { $0 + Double($1.0) * $1.1 }
    return Double(experts) * products / (Double(tokens) * Double(tokens))
  }

  /// dL/dp[e] of each token: scale * E * f[e] / tokens.
  func gradient(scale: Double, _ experts: Int) -> [Float] {
    guard tokens > 0 else { return Array(repeating: 0, count: choices.count) }
    let factor = scale * Double(experts) / (Double(tokens) * Double(tokens))
    return choices.map { Float(factor * Double($0)) }
  }
}

/// What router losses add to the gradients of one layer's probabilities and log sum exp.
package struct RouterLossGradient: Sendable {
  fileprivate let perGroup: [[Float]]
  fileprivate let group: [Int]
  fileprivate let isCounted: [Bool]?
  fileprivate let zScale: Float

  /// Nothing.
  package static let none = RouterLossGradient(perGroup: [], group: [], isCounted: nil, zScale: 0)

  /// dp = dL/dp[e] of a token.
  func probabilities(_ token: Int, into dp: borrowing Row) {
    guard !perGroup.isEmpty, isCounted?[token] ?? true else {
      for expert in 0..<dp.count { dp[expert] = 0 }
      return
    }
    let gradient = perGroup[group[token]]
    for expert in 0..<dp.count { dp[expert] = gradient[expert] }
  }

  /// dL/d log sum exp of a token's logits.
  func logSumExp(_ token: Int, _ routing: Routing) -> Float {
    zScale == 0 ? 0 : zScale * routing.logSumExp[token]
  }
}

import Base
import Glibc
package import Kernels

/// The top-k gates of the published families, in fp32: softmax over all experts, then the k
/// likeliest (Shazeer et al., "Outrageously large neural networks", 2017), as transformers 4.57
/// computes them for Switch, NLLB-MoE, Mixtral, OLMoE and Qwen3-MoE.
///
/// Legend: S tokens of one micro-batch, D model width, E experts. The weight is [E, D].
package struct TopKGate: Sendable {
  /// What a choice's output is multiplied by.
  package enum Combine: Sendable {
    /// Its probability.
    case probability
    /// Its share of the probabilities of all k choices.
    case shareOfChoices
    /// Its share of the probabilities of those choices that have room.
    case shareOfKept
  }

  /// How many tokens an expert takes; those beyond are dropped.
  package enum Capacity: Sendable, Equatable {
    case unlimited
    /// Of each sequence.
    case perSequence(Int)
    /// Of the micro-batch: second choices come after all first ones.
    case perMicroBatch(Int)
    /// The same, ceil(share * S).
    case shareOfMicroBatch(Double)
    /// The same, so many times ceil(S / E).
    case timesMean(Int)
    /// The same, max(ceil(k * S * factor / E), minimum).
    case factor(Double, minimum: Int)
  }

  /// Whose choices find room first.
  package enum Priority: Sendable {
    /// Tokens that come first.
    case order
    /// Tokens whose likeliest expert is the likeliest (Riquelme et al., "Scaling vision with sparse
    /// mixture of experts", 2021).
    case likeliest
    /// Random token selection: the same chance for every position (Kim et al., "Scalable and
    /// efficient MoE training for multitask multilingual models", 2021).
    case random
  }

  /// What follows a token's first choice, in training.
  package enum LaterChoices: Sendable {
    /// The next likeliest experts.
    case likeliest
    /// Experts drawn by their probabilities.
    case drawn
    /// The next likeliest, each taken with twice its probability.
    case takenByChance
  }

  package let experts: Int
  package let k: Int
  package let combine: Combine
  package let priority: Priority
  package let laterChoices: LaterChoices
  let projection: GateProjection
  private let chance: Philox
  private let selectionStream: Philox

  /// A share of less than this is one of this.
  static let smallestSum = Float.ulpOfOne

  /// - Parameter jitter: in training the gate's input is multiplied by a number in 1 - jitter ..< 1
  ///   + jitter; 0: off.
  package init(
    experts: Int, k: Int, width: Int, tokensMax: Int, combine: Combine,
    priority: Priority = .order, laterChoices: LaterChoices = .likeliest, jitter: Float = 0,
    seed: UInt64 = 0
  ) {
    precondition(1 <= k && k <= experts, "k of the experts")
    (self.experts, self.k, self.combine) = (experts, k, combine)
    (self.priority, self.laterChoices) = (priority, laterChoices)
    chance = Philox(seed: seed, purpose: .gateChoice)
    selectionStream = Philox(seed: seed, purpose: .tokenSelection)
    projection = GateProjection(
      experts: experts, width: width, tokensMax: tokensMax, jitter: jitter, seed: seed)
  }

  /// Routes the rows of x_SD.
  /// - Parameters:
  ///   - bias: [1, E]; nil: none.
  ///   - units: what decides for the tokens together; nil: each for itself.
  ///   - sequences: the rows of each sequence, in order; what a capacity per sequence needs.
  ///   - isRouted: false for rows that are padding and go to no expert; nil: all rows are routed.
  ///   - there: the experts that there are; nil: all.
  ///   - probabilities: [S, E], written, and kept by the result.
  package func forward(
    _ x: Matrix, weight: Matrix, bias: Matrix?, units: GateUnits? = nil, key: GateKey,
    isTraining: Bool, capacity: Capacity, sequences: [Range<Int>], isRouted: [Bool]? = nil,
    kept there: KeptExperts? = nil, probabilities: Matrix, on workers: Workers
  ) -> Routing {
    projection.forward(
      x, weight: weight, bias: bias, units: units, key: isTraining ? key : nil,
      into: probabilities, on: workers)
    return route(
      logits: probabilities, key: key, draws: isTraining && units == nil, capacity: capacity,
      sequences: sequences, isRouted: isRouted, kept: there)
  }

  /// Routes by logits [S, E], which become the probabilities of the result, in place.
  /// - Parameters:
  ///   - key: of what is left to chance; nil: nothing.
  ///   - draws: whether choices may be; what decides for many tokens draws none.
  package func route(
    logits: Matrix, key: GateKey? = nil, draws: Bool = true, capacity: Capacity,
    sequences: [Range<Int>], isRouted: [Bool]? = nil, kept there: KeptExperts? = nil
  ) -> Routing {
    precondition(logits.columns == experts, "a logit per expert")
    precondition(isRouted.map { $0.count == logits.rows } ?? true, "a verdict per row")
    precondition(k <= there?.count ?? experts, "k of the experts that there are")
    there?.mask(logits)
    let drawKey = draws ? key : nil
    var choice = [Int32](repeating: -1, count: logits.rows * k)
    var logSumExp = [Float](repeating: 0, count: logits.rows)
    for token in 0..<logits.rows {
      if isRouted?[token] ?? true {
        choose(logits.row(token), token, drawKey, there, into: &choice)
      }
      let (maximum, sum) = softmax(logits.row(token))
      logSumExp[token] = maximum + log(sum)
    }
    var counts = Array(repeating: 0, count: experts)
    for expert in choice where expert >= 0 { counts[Int(expert)] += 1 }
    let asking = drawKey.map { asked(choice, logits, $0) } ?? choice
    let kept = keep(asking, order(logits, key), capacity, sequences, there?.count ?? experts)
    return Routing(
      choicesPerToken: k, choice: choice, kept: kept,
      probability: combineWeights(choice, kept, logits), probabilities: logits,
      logSumExp: logSumExp, counts: counts, auxiliaryLoss: 0)
  }

  /// The k largest of a row, the lower expert first among equals. Later ones are drawn by adding
  /// noise of the Gumbel distribution: the largest then is one by the probabilities.
  private func choose(
    _ logits: borrowing Row, _ token: Int, _ key: GateKey?, _ there: KeptExperts?,
    into choice: inout [Int32]
  ) {
    let noise = laterChoices == .drawn ? key.map { gumbel(token, $0) } : nil
    for j in 0..<k {
      let before = token * k..<token * k + j
      func value(_ expert: Int) -> Float {
        logits[expert] + (j > 0 ? noise?[expert] ?? 0 : 0)
      }
      var best = -1
      for expert in 0..<experts
      where !choice[before].contains(Int32(expert)) && there?.contains(expert) ?? true {
        if best < 0 || value(expert) > value(best) { best = expert }
      }
      choice[token * k + j] = Int32(best)
    }
  }
}

// MARK: Capacity

extension TopKGate {
  /// All tokens in the order in which they find room.
  private func order(_ probabilities: Matrix, _ key: GateKey?) -> [Int] {
    let tokens = 0..<probabilities.rows
    // Among equals the first: a sort need not be stable.
    switch priority {
    case .order: return Array(tokens)
    case .likeliest:
      let best = tokens.map { token in
        let row = probabilities.row(token)
        return (0..<row.count).reduce(0) { max($0, row[$1]) }
      }
      return tokens.sorted { (-best[$0], $0) < (-best[$1], $1) }
    case .random:
      guard let key else { preconditionFailure("random selection has a key") }
      let drawn = tokens.map { selectionStream.priority(of: $0, key) }
      return tokens.sorted { (drawn[$1], $0) < (drawn[$0], $1) }
    }
  }

  /// Which choices have room. Unrouted ones have none.
  private func keep(
    _ choice: [Int32], _ order: [Int], _ capacity: Capacity, _ sequences: [Range<Int>],
    _ experts: Int
  ) -> [Bool] {
    let places: Int
    switch capacity {
    case .unlimited: return choice.map { $0 >= 0 }
    case .perSequence(let places):
      var kept = Array(repeating: false, count: choice.count)
      for tokens in sequences {
        let own = priority == .order ? Array(tokens) : order.filter(tokens.contains)
        let inside = keep(choice, tokens: own, places: places)
        for number in tokens.lowerBound * k..<tokens.upperBound * k {
          kept[number] = inside[number]
        }
      }
      return kept
    case .perMicroBatch(let number): places = number
    case .shareOfMicroBatch(let share):
      places = Int((share * Double(order.count)).rounded(.up))
    case .timesMean(let times): places = times * ((order.count + experts - 1) / experts)
    case .factor(let factor, let minimum):
      let mean = Double(k * order.count) / Double(experts)
      places = max(Int((mean * factor).rounded(.up)), minimum)
    }
    return keep(choice, tokens: order, places: places)
  }

  /// First choices in the order of the tokens, then second ones; a choice that was dropped has had
  /// its turn all the same.
  private func keep(_ choice: [Int32], tokens: [Int], places: Int) -> [Bool] {
    var kept = Array(repeating: false, count: choice.count)
    var taken = Array(repeating: 0, count: experts)
    for j in 0..<k {
      for token in tokens where choice[token * k + j] >= 0 {
        let expert = Int(choice[token * k + j])
        kept[token * k + j] = taken[expert] < places
        taken[expert] += 1
      }
    }
    return kept
  }

  private func combineWeights(
    _ choice: [Int32], _ kept: [Bool], _ probabilities: Matrix
  ) -> [Float] {
    var weights = [Float](repeating: 0, count: choice.count)
    for token in 0..<probabilities.rows {
      let numbers = token * k..<(token + 1) * k
      let sum = normaliser(numbers, choice, kept, probabilities)
      for number in numbers where choice[number] >= 0 {
        weights[number] = probabilities[token, Int(choice[number])] / sum
      }
    }
    return weights
  }

  /// What the probabilities of one token's choices are divided by.
  func normaliser(
    _ numbers: Range<Int>, _ choice: [Int32], _ kept: [Bool], _ probabilities: Matrix
  ) -> Float {
    if combine == .probability { return 1 }
    var sum: Float = 0
    for number in numbers where counts(number, choice, kept) {
      sum += probabilities[number / k, Int(choice[number])]
    }
    return max(sum, Self.smallestSum)
  }

  /// Whether a choice belongs to the sum that shares are of.
  func counts(_ number: Int, _ choice: [Int32], _ kept: [Bool]) -> Bool {
    choice[number] >= 0 && (combine == .shareOfChoices || kept[number])
  }
}

// MARK: Chance

extension TopKGate {
  /// -ln(-ln u) for each expert, u a function of (seed, key, token, expert).
  private func gumbel(_ token: Int, _ key: GateKey) -> [Float] {
    (0..<experts).map { -log(-log(uniform(token * experts + $0, key))) }
  }

  /// The choices that ask for room: later ones with twice their probability where that is the rule.
  private func asked(_ choice: [Int32], _ probabilities: Matrix, _ key: GateKey) -> [Int32] {
    guard laterChoices == .takenByChance else { return choice }
    return choice.indices.map { number in
      let (token, expert) = (number / k, choice[number])
      guard number % k > 0, expert >= 0 else { return expert }
      return 2 * probabilities[token, Int(expert)] > uniform(number, key) ? expert : -1
    }
  }

  /// Between 0 and 1.
  private func uniform(_ index: Int, _ key: GateKey) -> Float {
    precondition(index >= 0 && index < 1 << 34, "a draw's group of four fits 32 bits")
    let (step, batch) = key.words
    let words = chance.words(step, batch, UInt32(index / 4))
    return (Float(words[index % 4] >> 9) + 0.5) * 0x1p-23
  }
}

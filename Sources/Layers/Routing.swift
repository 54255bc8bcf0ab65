package import Kernels

/// Where the tokens of one micro-batch went in one MoE layer. Legend: S tokens, E experts, k choices
/// of each token; choice j of token s is number s k + j.
package struct Routing: Sendable {
  package let choicesPerToken: Int
  /// The chosen experts, each token's from the likeliest on; -1: the token is not routed.
  package var choice: [Int32]
  /// Whether the choice had room for the token.
  package var kept: [Bool]
  /// The weight of the choice's output, the combine weight: with one choice its probability.
  package var probability: [Float]
  /// softmax of the logits, [S, E]; the gate's backward pass needs it.
  package var probabilities: Matrix
  /// log sum exp of the logits of each token, where somebody needs it; else empty.
  package var logSumExp: [Float]
  /// Choices per expert before any is dropped.
  package var counts: [Int]
  /// E * sum over e of mean probability * share of tokens: 1 when balanced, E when collapsed.
  package var auxiliaryLoss: Double
  /// Tokens an expert may take; nil without a limit.
  package var capacity: Int?

  package init(
    choicesPerToken: Int = 1, choice: [Int32], kept: [Bool], probability: [Float],
    probabilities: Matrix, logSumExp: [Float] = [], counts: [Int], auxiliaryLoss: Double,
    capacity: Int? = nil
  ) {
    precondition(kept.count == choice.count, "one verdict per choice")
    precondition(probability.count == choice.count, "one combine weight per choice")
    precondition(probabilities.rows * choicesPerToken == choice.count, "one row per token")
    precondition(probabilities.columns == counts.count, "one count per expert")
    self.choicesPerToken = choicesPerToken
    (self.choice, self.kept, self.probability) = (choice, kept, probability)
    (self.probabilities, self.logSumExp, self.counts) = (probabilities, logSumExp, counts)
    (self.auxiliaryLoss, self.capacity) = (auxiliaryLoss, capacity)
  }

  package var tokens: Int { probabilities.rows }
  /// Choices that have room.
  package var keptCount: Int { kept.count { $0 } }
}

/// For each expert of one layer the tokens it computes, over all micro-batches: experts ascending,
/// then micro-batches, then tokens. Dropped choices do not occur.
///
///     entries of expert e:  offsets[e] ..< offsets[e + 1]
package struct ExpertRows: Sendable {
  package private(set) var offsets: [Int]
  /// Per entry: the micro-batch, and the number of the choice within it.
  package private(set) var microBatches: [Int32]
  package private(set) var choices: [Int32]
  /// Per entry: the row if all micro-batches lie below each other in one matrix.
  package private(set) var rows: [Int32]
  /// Per entry: the combine weight.
  package private(set) var probabilities: [Float]

  package var expertCount: Int { offsets.count - 1 }
  package var count: Int { rows.count }

  /// Counting sort of the kept choices of `routings`, one per micro-batch, in order.
  package init(_ routings: [Routing], experts: Int) {
    var next = Self.starts(routings, experts: experts)
    offsets = next
    let total = next[experts]
    microBatches = Array(repeating: 0, count: total)
    choices = microBatches
    rows = microBatches
    probabilities = Array(repeating: 0, count: total)
    var firstRow = 0
    for (microBatch, routing) in routings.enumerated() {
      for choice in routing.choice.indices where routing.kept[choice] {
        let entry = next[Int(routing.choice[choice])]
        next[Int(routing.choice[choice])] += 1
        microBatches[entry] = Int32(microBatch)
        choices[entry] = Int32(choice)
        rows[entry] = Int32(firstRow + choice / routing.choicesPerToken)
        probabilities[entry] = routing.probability[choice]
      }
      firstRow += routing.tokens
    }
  }

  /// The entries of one expert.
  package func entries(of expert: Int) -> Range<Int> { offsets[expert]..<offsets[expert + 1] }

  /// Experts with at least one token, ascending.
  package var touchedExperts: [Int] {
    (0..<expertCount).filter { !entries(of: $0).isEmpty }
  }

  private static func starts(_ routings: [Routing], experts: Int) -> [Int] {
    var starts = Array(repeating: 0, count: experts + 1)
    for routing in routings {
      for choice in routing.choice.indices where routing.kept[choice] {
        starts[Int(routing.choice[choice]) + 1] += 1
      }
    }
    for expert in 0..<experts { starts[expert + 1] += starts[expert] }
    return starts
  }
}

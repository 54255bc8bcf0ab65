package import Kernels

/// Where the tokens of one micro-batch went in one MoE layer. Legend: S tokens, E experts.
package struct Routing: Sendable {
  /// The chosen expert of each token.
  package var choice: [Int32]
  /// Whether the choice had room for the token.
  package var kept: [Bool]
  /// The probability of the choice: the weight of the expert's output.
  package var probability: [Float]
  /// softmax of the logits, [S, E]; the gate's backward pass needs it.
  package var probabilities: Matrix
  /// Tokens per expert before any is dropped.
  package var counts: [Int]
  /// E * sum over e of mean probability * share of tokens: 1 when balanced, E when collapsed.
  package var auxiliaryLoss: Double
  /// Tokens an expert may take; nil without a limit.
  package var capacity: Int?

  package init(
    choice: [Int32], kept: [Bool], probability: [Float], probabilities: Matrix, counts: [Int],
    auxiliaryLoss: Double, capacity: Int? = nil
  ) {
    precondition(kept.count == choice.count, "one verdict per token")
    precondition(probability.count == choice.count, "one probability per token")
    precondition(probabilities.rows == choice.count, "one row per token")
    precondition(probabilities.columns == counts.count, "one count per expert")
    (self.choice, self.kept, self.probability) = (choice, kept, probability)
    (self.probabilities, self.counts) = (probabilities, counts)
    (self.auxiliaryLoss, self.capacity) = (auxiliaryLoss, capacity)
  }

  package var keptCount: Int { kept.count { $0 } }
}

/// For each expert of one layer the tokens it computes, over all micro-batches: experts ascending,
/// then micro-batches, then tokens. Dropped tokens do not occur.
///
///     entries of expert e:  offsets[e] ..< offsets[e + 1]
package struct ExpertRows: Sendable {
  package private(set) var offsets: [Int]
  /// Per entry: the micro-batch, and the token within it.
  package private(set) var microBatches: [Int32]
  package private(set) var tokens: [Int32]
  /// Per entry: the row if all micro-batches lie below each other in one matrix.
  package private(set) var rows: [Int32]
  /// Per entry: the combine weight.
  package private(set) var probabilities: [Float]

  package var expertCount: Int { offsets.count - 1 }
  package var count: Int { rows.count }

  /// Counting sort of the kept tokens of `routings`, one per micro-batch, in order.
  package init(_ routings: [Routing], experts: Int) {
    var next = Self.starts(routings, experts: experts)
    offsets = next
    let total = next[experts]
    microBatches = Array(repeating: 0, count: total)
    tokens = microBatches
    rows = microBatches
    probabilities = Array(repeating: 0, count: total)
    var firstRow = 0
    for (microBatch, routing) in routings.enumerated() {
      for token in routing.choice.indices where routing.kept[token] {
        let entry = next[Int(routing.choice[token])]
        next[Int(routing.choice[token])] += 1
        microBatches[entry] = Int32(microBatch)
        tokens[entry] = Int32(token)
        rows[entry] = Int32(firstRow + token)
        probabilities[entry] = routing.probability[token]
      }
      firstRow += routing.choice.count
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
      for token in routing.choice.indices where routing.kept[token] {
        starts[Int(routing.choice[token]) + 1] += 1
      }
    }
    for expert in 0..<experts { starts[expert + 1] += starts[expert] }
    return starts
  }
}

import Kernels

/// The experts of a layer that are still there, after pruning or extraction: a gate chooses among them
/// alone.
package struct KeptExperts: Sendable, Equatable {
  /// What the probabilities of the choices are of.
  package enum Probabilities: String, Sendable, CaseIterable {
    /// The kept experts, as if the rows of the others were gone from the gate (Kim et al., "Scalable and
    /// efficient MoE training for multitask multilingual models", 2021).
    case kept
    /// All that there were: what chose kept experts before is computed as it was, bit for bit.
    case all
  }

  /// Ascending.
  package let experts: [Int]
  package let probabilities: Probabilities
  private let isKept: [Bool]

  /// - Parameter count: of the layer before.
  package init(_ experts: some Collection<Int>, of count: Int, _ probabilities: Probabilities) {
    precondition(!experts.isEmpty, "a layer keeps an expert")
    self.experts = Set(experts).sorted()
    self.probabilities = probabilities
    var isKept = Array(repeating: false, count: count)
    for expert in experts { isKept[expert] = true }
    self.isKept = isKept
  }

  package var count: Int { experts.count }
  package func contains(_ expert: Int) -> Bool { isKept[expert] }

  /// Where probabilities are of the kept ones, the logits [S, E] of the others become minus infinity.
  func mask(_ logits: Matrix) {
    guard probabilities == .kept else { return }
    for token in 0..<logits.rows {
      let row = logits.row(token)
      for expert in 0..<row.count where !isKept[expert] { row[expert] = -.infinity }
    }
  }

  /// The likeliest of a row, the lower one among equals.
  func likeliest(_ logits: borrowing Row) -> Int {
    experts.dropFirst().reduce(experts[0]) { logits[$1] > logits[$0] ? $1 : $0 }
  }
}

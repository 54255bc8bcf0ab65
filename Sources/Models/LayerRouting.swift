import Kernels
package import Layers

/// What the gate of one layer decided, from the forward to the end of the backward sweep.
package struct LayerRouting: Sendable {
  /// One expert block to visit and the rows it works on.
  package struct Block: Sendable {
    package let expert: Int
    package let slice: Int
    /// Rows routed to the expert, over all micro-batches.
    package let rows: Int
  }

  /// Per micro-batch.
  package let gates: [Routing]
  /// Expert by expert, over all micro-batches.
  package let rows: ExpertRows
  /// The touched experts in ascending order, each with its slices.
  package let blocks: [Block]
  /// The gradient of each entry's combine weight, filled by the backward sweep.
  package internal(set) var dProbability: [Float]

  package init(_ gates: [Routing], experts: ExpertShape) {
    let rows = ExpertRows(gates, experts: experts.count)
    self.gates = gates
    self.rows = rows
    blocks = rows.touchedExperts.flatMap { expert in
      (0..<experts.slices).map {
        Block(expert: expert, slice: $0, rows: rows.entries(of: expert).count)
      }
    }
    dProbability = Array(repeating: 0, count: rows.count)
  }

  /// Those of `experts` that no row was given to.
  package func untouchedBlocks(of there: [Int], _ experts: ExpertShape) -> [Block] {
    let touched = Set(rows.touchedExperts)
    return there.filter { !touched.contains($0) }.flatMap { expert in
      (0..<experts.slices).map { Block(expert: expert, slice: $0, rows: 0) }
    }
  }

  package var touchedExperts: Int { rows.touchedExperts.count }
  package var routedChoices: Int { gates.reduce(0) { $0 + $1.choice.count { $0 >= 0 } } }

  mutating func clearGradients() {
    for entry in dProbability.indices { dProbability[entry] = 0 }
  }

  /// The gradients of one micro-batch's combine weights, by choice; 0 where that was dropped.
  func dProbability(microBatch: Int) -> [Float] {
    var byChoice = [Float](repeating: 0, count: gates[microBatch].choice.count)
    for entry in 0..<rows.count where rows.microBatches[entry] == Int32(microBatch) {
      byChoice[Int(rows.choices[entry])] = dProbability[entry]
    }
    return byChoice
  }
}

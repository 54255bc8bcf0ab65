import Base
package import Storage

/// How evenly the experts of each layer have been used, from what the store remembers of every
/// block: updates and tokens. Reads the manifest only, no record.
package struct ExpertUsage: Codable, Sendable {
  package struct Layer: Codable, Sendable {
    package let layer: Int
    /// That are there.
    package let experts: Int
    /// Experts that were updated at least once.
    package let touched: Int
    /// Training tokens by expert, ascending by expert.
    package let tokens: [Int]

    /// The entropy of the token shares over its maximum: 1 is even use, 0 a single expert.
    package var evenness: Double { Surgery.evenness(of: tokens, among: experts) }
    /// The share of the most used expert.
    package var largestShare: Double {
      Double(tokens.max() ?? 0) / Double(max(1, tokens.reduce(0, +)))
    }
  }

  package let step: Int
  package let layers: [Layer]

  /// - Parameters:
  ///   - experts: of a layer, touched or not, those that were dropped included.
  ///   - there: how many are left of each layer.
  package init(_ store: Store, experts: Int, there: [Int]) {
    var tokens = Array(repeating: Array(repeating: 0, count: experts), count: there.count)
    var touched = Array(repeating: Set<Int>(), count: there.count)
    for block in store.writtenBlocks where block.kind == .expert {
      guard let record = store.record(of: block) else { continue }
      touched[block.layer].insert(block.index)
      // Slices of one expert see the same tokens.
      if block.slice == 0 { tokens[block.layer][block.index] = record.history.tokens }
    }
    step = store.generation?.step ?? 0
    layers = there.indices.map {
      Layer(layer: $0, experts: there[$0], touched: touched[$0].count, tokens: tokens[$0])
    }
  }
}

import Base
import Foundation
package import Storage

/// How evenly the experts of each layer have been used, from what the store remembers of every
/// block: updates and tokens. Reads the manifest only, no record.
package struct ExpertUsage: Codable, Sendable {
  package struct Layer: Codable, Sendable {
    package let layer: Int
    package let experts: Int
    /// Experts that were updated at least once.
    package let touched: Int
    /// Training tokens by expert, ascending by expert.
    package let tokens: [Int]

    /// The entropy of the token shares over its maximum: 1 is even use, 0 a single expert.
    package var evenness: Double {
      let total = Double(tokens.reduce(0, +))
      guard total > 0, tokens.count > 1 else { return 0 }
      let shares = tokens.filter { $0 > 0 }.map { Double($0) / total }
      return -shares.reduce(0) { $0 + $1 * log($1) } / log(Double(tokens.count))
    }
    /// The share of the most used expert.
    package var largestShare: Double {
      Double(tokens.max() ?? 0) / Double(max(1, tokens.reduce(0, +)))
    }
  }

  package let step: Int
  package let layers: [Layer]

  /// - Parameter experts: experts of a layer, touched or not.
  package init(_ store: Store, layers: Int, experts: Int) {
    var tokens = Array(repeating: Array(repeating: 0, count: experts), count: layers)
    var touched = Array(repeating: Set<Int>(), count: layers)
    for block in store.writtenBlocks where block.kind == .expert {
      guard let record = store.record(of: block) else { continue }
      touched[block.layer].insert(block.index)
      // Slices of one expert see the same tokens.
      if block.slice == 0 { tokens[block.layer][block.index] = record.history.tokens }
    }
    step = store.generation?.step ?? 0
    self.layers = (0..<layers).map {
      Layer(layer: $0, experts: experts, touched: touched[$0].count, tokens: tokens[$0])
    }
  }
}

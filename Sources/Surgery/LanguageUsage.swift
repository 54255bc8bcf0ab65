import Foundation
package import Training

/// Which experts each language or task goes to, and which of them share experts: of held-out text, layer
/// by layer.
package struct LanguageUsage: Codable, Sendable {
  /// What the rows are.
  package enum Grouping: String, Sendable, CaseIterable {
    /// Of an encoder the language of the source, of a decoder that of the target.
    case language
    /// Every task by itself.
    case task
  }

  package struct Layer: Codable, Sendable {
    /// Counts layers with experts in forward order.
    package let layer: Int
    package let isEncoder: Bool
    /// Of each group's choices, the share of each expert, [groups, experts]; of a group without any, zeros.
    package let shares: [[Double]]
    /// The entropy of all choices together over its maximum: 1 is even use, 0 a single expert.
    package let evenness: Double
    /// The same of each group.
    package let groupEvenness: [Double]
    /// Of the choices of each tenth of a micro-batch, the share that found room.
    package let keptByTenth: [Double]
  }

  /// Two groups, and how much they share: the mean over layers of the cosine of their shares, 1 where they
  /// choose the same experts as often, 0 where they have none in common.
  package struct Kinship: Codable, Sendable {
    package let isEncoder: Bool
    package let first: String
    package let second: String
    package let similarity: Double
  }

  package let run: String
  package let step: Int
  package let groups: [String]
  package let layers: [Layer]
  /// Of encoder and decoder each, every pair, the most alike first.
  package let kinships: [Kinship]

  package init(_ usage: HeldOutUsage, by grouping: Grouping) {
    func name(_ task: HeldOutUsage.Task, isEncoder: Bool) -> String {
      guard grouping == .language else { return task.name }
      return (isEncoder ? task.source : task.target) ?? task.name
    }
    let groups = Set(
      usage.tasks.flatMap { task in [true, false].map { name(task, isEncoder: $0) } }
    )
    .sorted()
    let numbers = Dictionary(uniqueKeysWithValues: groups.enumerated().map { ($1, $0) })
    let layers = usage.layers.map { layer in
      let none = layer.total.map { _ in 0 }
      var tokens = Array(repeating: none, count: groups.count)
      for (task, row) in zip(usage.tasks, layer.tokens) {
        let group = numbers[name(task, isEncoder: layer.isEncoder), default: 0]
        tokens[group] = zip(tokens[group], row).map(+)
      }
      return Layer(
        layer: layer.layer, isEncoder: layer.isEncoder, shares: tokens.map(Self.shares),
        evenness: evenness(of: layer.total, among: layer.experts.count),
        groupEvenness: tokens.map { evenness(of: $0, among: layer.experts.count) },
        keptByTenth: zip(layer.keptByTenth, layer.choicesByTenth).map {
          Double($0) / Double(max(1, $1))
        })
    }
    (run, step, self.groups, self.layers) = (usage.run, usage.step, groups, layers)
    kinships = [true, false].flatMap { Self.kinships(layers, groups, isEncoder: $0) }
  }

  private static func shares(_ tokens: [Int]) -> [Double] {
    let total = Double(max(1, tokens.reduce(0, +)))
    return tokens.map { Double($0) / total }
  }

  private static func kinships(
    _ layers: [Layer], _ groups: [String], isEncoder: Bool
  ) -> [Kinship] {
    let own = layers.filter { $0.isEncoder == isEncoder }
    guard !own.isEmpty else { return [] }
    let present = groups.indices.filter { own[0].shares[$0].contains { $0 > 0 } }
    let pairs = present.flatMap { a in present.filter { $0 > a }.map { (a, $0) } }
    return pairs.map { a, b in
      let sum = own.reduce(0) { $0 + cosine($1.shares[a], $1.shares[b]) }
      return Kinship(
        isEncoder: isEncoder, first: groups[a], second: groups[b],
        similarity: sum / Double(own.count))
    }.sorted { ($1.similarity, $0.first, $0.second) < ($0.similarity, $1.first, $1.second) }
  }

  private static func cosine(_ a: [Double], _ b: [Double]) -> Double {
    func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
    let norms = (dot(a, a) * dot(b, b)).squareRoot()
    return norms > 0 ? dot(a, b) / norms : 0
  }
}

/// The entropy of shares of `tokens` over its maximum.
/// - Parameter experts: how many there are to be evenly used.
func evenness(of tokens: [Int], among experts: Int) -> Double {
  let total = Double(tokens.reduce(0, +))
  guard total > 0, experts > 1 else { return 0 }
  let shares = tokens.filter { $0 > 0 }.map { Double($0) / total }
  return -shares.reduce(0) { $0 + $1 * log($1) } / log(Double(experts))
}

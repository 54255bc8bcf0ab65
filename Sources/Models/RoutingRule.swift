package import Layers

/// How the tokens of a layer find their experts, and what their gates add to the loss.
package enum RoutingRule: Sendable {
  /// One expert a token, with a capacity that follows the micro-batch, as DeepSpeed gates.
  case topOne(TopOneRule)
  /// The k likeliest, as the published families gate.
  case topK(TopKRule)

  /// k: those that a token chooses, before any are dropped.
  package var expertsPerToken: Int {
    switch self {
    case .topOne: 1
    case .topK(let rule): rule.k
    }
  }

  /// The most rows that one expert takes of a micro-batch of `rows` whose tokens choose for
  /// themselves, in training and evaluation.
  fileprivate func expertRows(_ experts: Int, rows: Int) -> Int {
    switch self {
    case .topOne(let rule): rule.expertRows(experts, rows: rows)
    case .topK: rows
    }
  }
}

extension ModelDescription {
  /// The most rows that one expert takes of a micro-batch of `rows`, in training and evaluation.
  package func expertRows(of rows: Int) -> Int {
    let isLimited = layers.compactMap(\.gateInput).allSatisfy(\.hasCapacity)
    let fewest = layers.compactMap(\.keptExperts).map(\.count).min() ?? experts.count
    return isLimited ? routing.expertRows(fewest, rows: rows) : rows
  }
}

/// The numbers of `Gate`.
package struct TopOneRule: Sendable {
  package var capacityFactor = 1.0
  package var evalCapacityFactor = 2.0
  package var minCapacity = 4
  package var tokenSelection = TokenSelection.random
  package var jitter: Float = 0
  package var auxLossCoefficient: Float = 0.01
  package var seed: UInt64 = 1

  package init() {}

  func expertRows(_ experts: Int, rows: Int) -> Int {
    let factor = max(capacityFactor, evalCapacityFactor)
    return max(Int((Double(rows) * factor / Double(experts)).rounded(.up)), minCapacity)
  }

  func gate(_ experts: ExpertShape, _ limits: BatchLimits, _ mode: Transformer.Mode) -> Gate {
    let factor: Double? =
      switch mode {
      case .training: capacityFactor
      case .evaluation: evalCapacityFactor
      case .generation: nil
      }
    return Gate(
      experts: experts.count, width: experts.width, tokensMax: limits.microBatchRows,
      capacityFactor: factor, capacityMinimum: minCapacity, selection: tokenSelection,
      jitter: mode == .training ? jitter : 0, seed: seed)
  }
}

/// The numbers of `TopKGate` and `RouterLoss`.
package struct TopKRule: Sendable {
  /// What one balance loss is of.
  package enum Pool: Sendable {
    /// Each layer.
    case layer
    /// All layers of a stack together.
    case stack
    /// The same, each sequence by itself.
    case sequence
  }

  package var k = 1
  package var combine = TopKGate.Combine.probability
  package var priority = TopKGate.Priority.order
  package var laterChoices = TopKGate.LaterChoices.likeliest
  package var trainingCapacity = TopKGate.Capacity.unlimited
  package var evaluationCapacity = TopKGate.Capacity.unlimited
  /// Whether the encoder drops in generation what it drops in evaluation. Of a micro-batch's capacity: what
  /// is generated then depends on what else is.
  package var dropsInGeneration = true
  /// Padding in the encoder goes to no expert.
  package var skipsPadding = false
  package var jitter: Float = 0
  package var balanceCoefficient: Float = 0
  package var zCoefficient: Float = 0
  package var pool = Pool.stack
  package var share = RouterLoss.Share.choices
  /// Stacks whose gates add nothing to the loss.
  package var sidesWithoutLosses: Set<Side> = []
  /// Padding is left out of the balance loss.
  package var balancesPadding = true
  /// Outputs of experts are multiplied by this outside training.
  package var evaluationScale: Float = 1
  package var seed: UInt64 = 1

  package init() {}

  /// In generation the encoder reads whole sources, as in evaluation, and drops what is dropped
  /// there. The decoder is given a token at a time, which finds room everywhere; several together,
  /// as a prompt, must not fare otherwise.
  func capacity(_ mode: Transformer.Mode, _ side: Side) -> TopKGate.Capacity {
    switch (mode, side) {
    case (.training, _): trainingCapacity
    case (.evaluation, _): evaluationCapacity
    case (.generation, .encoder) where dropsInGeneration: evaluationCapacity
    case (.generation, _): .unlimited
    }
  }
}

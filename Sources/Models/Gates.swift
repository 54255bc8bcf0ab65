import Kernels
import Layers

/// The gates of a model, in scratch memory that all layers share.
struct Gates: Sendable {
  /// Top-1, by mode.
  private let topOne: [Gate]
  private let topK: TopKGate?
  private let rule: RoutingRule

  init(_ description: ModelDescription, _ limits: BatchLimits) {
    let experts = description.experts
    rule = description.routing
    switch rule {
    case .topOne(let rule):
      topOne = Transformer.Mode.allCases.map { rule.gate(experts, limits, $0) }
      topK = nil
    case .topK(let rule):
      topOne = []
      topK = TopKGate(
        experts: experts.count, k: rule.k, width: experts.width, tokensMax: limits.microBatchRows,
        combine: rule.combine, priority: rule.priority, laterChoices: rule.laterChoices,
        jitter: rule.jitter, seed: rule.seed)
    }
  }

  /// Floats of scratch memory.
  static func floatCount(_ description: ModelDescription, _ limits: BatchLimits) -> Int {
    let one = limits.microBatchRows * (description.experts.count + description.width)
    if case .topOne = description.routing { return Transformer.Mode.allCases.count * one }
    return one
  }

  /// One micro-batch of a layer.
  struct Place {
    let key: GateKey
    let mode: Transformer.Mode
    /// Of the micro-batch, counted from its first row.
    let sequences: [Range<Int>]
    /// False for padding; nil: there is none.
    let isToken: [Bool]?
    let side: Side
  }

  func forward(
    _ x: Matrix, weight: Matrix, bias: Matrix?, _ place: Place, probabilities: Matrix,
    on workers: Workers
  ) -> Routing {
    let isTraining = place.mode == .training
    switch rule {
    case .topOne:
      return topOne[place.mode.rawValue].forward(
        x, weight: weight, key: place.key, isTraining: isTraining, probabilities: probabilities,
        on: workers)
    case .topK(let rule):
      return top.forward(
        x, weight: weight, bias: bias, key: place.key, isTraining: isTraining,
        capacity: rule.capacity(place.mode, place.side), sequences: place.sequences,
        isRouted: rule.skipsPadding && place.side == .encoder ? place.isToken : nil,
        probabilities: probabilities, on: workers)
    }
  }

  /// What the gradients of one micro-batch of a layer go to.
  struct Gradients {
    let weight: Matrix
    let bias: Matrix?
    let x: Matrix
  }

  func backward(
    _ x: Matrix, weight: Matrix, _ routing: Routing, _ place: Place, dcombine: [Float],
    losses: RouterLossGradient, microBatches: Int, into gradients: Gradients, on workers: Workers
  ) {
    let isTraining = place.mode == .training
    switch rule {
    case .topOne(let rule):
      topOne[place.mode.rawValue].backward(
        x, weight: weight, routing: routing, key: place.key, isTraining: isTraining,
        dprobability: dcombine, auxiliaryScale: rule.auxLossCoefficient / Float(microBatches),
        dweight: gradients.weight, dx: gradients.x, on: workers)
    case .topK:
      top.backward(
        x, weight: weight, routing: routing, key: place.key, isTraining: isTraining,
        dcombine: dcombine, losses: losses, dweight: gradients.weight, dbias: gradients.bias,
        dx: gradients.x, on: workers)
    }
  }

  private var top: TopKGate {
    guard let topK else { preconditionFailure("the rule's gate") }
    return topK
  }
}

/// The balance and z-losses of a batch: one for each pool of layers and micro-batch.
struct RouterLosses: Sendable {
  private let rule: TopKRule?
  /// By pool, then micro-batch.
  private var pools: [[RouterLoss?]]
  private let experts: Int
  private let microBatches: Int

  init(_ description: ModelDescription, microBatches: Int) {
    if case .topK(let rule) = description.routing { self.rule = rule } else { rule = nil }
    experts = description.experts.count
    self.microBatches = microBatches
    let count = rule?.pool == .layer ? description.mixtures : description.sides.count
    pools = Array(repeating: Array(repeating: nil, count: microBatches), count: count)
  }

  private func pool(_ mixture: Int, _ side: Side) -> Int {
    // The decoder's is the last.
    rule?.pool == .layer ? mixture : side == .decoder ? pools.count - 1 : 0
  }

  /// Adds a layer's routing of one micro-batch.
  mutating func add(_ routing: Routing, _ mixture: Int, _ place: Gates.Place) {
    guard let rule, !rule.sidesWithoutLosses.contains(place.side) else { return }
    let pool = pool(mixture, place.side)
    let microBatch = place.key.microBatch
    var loss =
      pools[pool][microBatch]
      ?? RouterLoss(
        experts: experts, groups: rule.pool == .sequence ? place.sequences.count : 1,
        share: rule.share)
    loss.add(routing, group: groups(place), isCounted: counted(place))
    pools[pool][microBatch] = loss
  }

  /// What the losses add to the gradients of one micro-batch of a layer.
  func gradient(_ mixture: Int, _ place: Gates.Place) -> RouterLossGradient {
    guard let rule, let loss = pools[pool(mixture, place.side)][place.key.microBatch] else {
      return .none
    }
    return loss.gradient(
      balanceScale: rule.balanceCoefficient / Float(microBatches),
      zScale: rule.zCoefficient / Float(microBatches), group: groups(place),
      isCounted: counted(place))
  }

  /// Sums over pools, averaged over micro-batches: without their coefficients, and with them.
  var total: (balance: Double, z: Double, loss: Double) {
    var (balance, z) = (0.0, 0.0)
    for loss in pools.flatMap({ $0 }).compactMap({ $0 }) {
      balance += loss.balance / Double(microBatches)
      z += loss.z / Double(microBatches)
    }
    let loss =
      Double(rule?.balanceCoefficient ?? 0) * balance + Double(rule?.zCoefficient ?? 0) * z
    return (balance, z, loss)
  }

  private func groups(_ place: Gates.Place) -> [Int] {
    let bySequence = rule?.pool == .sequence
    return place.sequences.enumerated().flatMap { index, rows in
      Array(repeating: bySequence ? index : 0, count: rows.count)
    }
  }

  private func counted(_ place: Gates.Place) -> [Bool]? {
    rule?.balancesPadding == false ? place.isToken : nil
  }
}

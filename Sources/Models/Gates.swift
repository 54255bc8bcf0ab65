import Kernels
import Layers

/// The gates of a model, in scratch memory that all layers share.
struct Gates: Sendable {
  /// Top-1, by mode.
  private let topOne: [Gate]
  private let topK: TopKGate?
  private let rule: RoutingRule
  /// What decides for many tokens of a micro-batch, and its gradient; empty where nothing does.
  private let units: Matrix
  private let dUnits: Matrix

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
    units = Matrix(
      rows: description.hasSharedGates ? limits.microBatchRows : 0, columns: description.width)
    dUnits = Matrix(rows: units.rows, columns: units.columns)
  }

  /// Floats of scratch memory.
  static func floatCount(_ description: ModelDescription, _ limits: BatchLimits) -> Int {
    let one = limits.microBatchRows * (description.experts.count + description.width)
    let units = description.hasSharedGates ? 2 * limits.microBatchRows * description.width : 0
    if case .topOne = description.routing { return Transformer.Mode.allCases.count * one + units }
    return one + units
  }

  /// One micro-batch of a layer.
  struct Place {
    let key: GateKey
    let mode: Transformer.Mode
    /// Of the micro-batch, counted from its first row.
    let sequences: [Range<Int>]
    /// Their rows that are no padding.
    let keys: [Range<Int>]
    /// False for padding; nil: there is none.
    let isToken: [Bool]?
    /// Of each sequence; empty where nobody named them.
    let tasks: [SequenceTask]
    let side: Side
  }

  /// One gate.
  struct Parameters {
    let input: GateInput
    let weight: Matrix
    let bias: Matrix?
    /// The embeddings of tasks.
    let tasks: Matrix?
    /// The experts that there are; nil: all.
    let kept: KeptExperts?
  }

  func forward(
    _ x: Matrix, _ gate: Parameters, _ place: Place, probabilities: Matrix, on workers: Workers
  ) -> Routing {
    let isTraining = place.mode == .training
    let shared = SharedDecisions(gate.input, place)
    let units = shared.map { decisions($0, x, gate) }
    switch rule {
    case .topOne:
      return topOne[place.mode.rawValue].forward(
        x, weight: gate.weight, units: units, key: place.key, isTraining: isTraining,
        isLimited: gate.input.hasCapacity, kept: gate.kept, probabilities: probabilities,
        on: workers)
    case .topK(let rule):
      return top.forward(
        x, weight: gate.weight, bias: gate.bias, units: units, key: place.key,
        isTraining: isTraining,
        capacity: gate.input.hasCapacity ? rule.capacity(place.mode, place.side) : .unlimited,
        sequences: place.sequences,
        isRouted: rule.skipsPadding && place.side == .encoder ? place.isToken : nil,
        kept: gate.kept, probabilities: probabilities, on: workers)
    }
  }

  /// What a gate by task chooses for each of `tasks`, one after the other.
  func experts(
    of tasks: [SequenceTask], _ gate: Parameters, _ side: Side, _ mode: Transformer.Mode
  ) -> [Int] {
    // One token of each, whose own row nobody looks at.
    let token = Matrix(rows: 1, columns: gate.weight.columns)
    let probabilities = Matrix(rows: 1, columns: gate.weight.rows)
    return tasks.flatMap { task in
      let place = Place(
        key: GateKey(step: 0, layer: 0, microBatch: 0), mode: mode, sequences: [0..<1],
        keys: [0..<1], isToken: nil, tasks: [task], side: side)
      return forward(token, gate, place, probabilities: probabilities, on: .inline).choice
    }.map(Int.init)
  }

  /// What the gradients of one micro-batch of a layer go to.
  struct Gradients {
    let gate: GateGradients
    let tasks: Matrix?
  }

  func backward(
    _ x: Matrix, _ gate: Parameters, _ routing: Routing, _ place: Place, dcombine: [Float],
    losses: RouterLossGradient, microBatches: Int, into gradients: Gradients, on workers: Workers
  ) {
    let isTraining = place.mode == .training
    let shared = SharedDecisions(gate.input, place)
    let units = shared.map { decisions($0, x, gate) }
    switch rule {
    case .topOne(let rule):
      topOne[place.mode.rawValue].backward(
        x, weight: gate.weight, units: units, kept: gate.kept, routing: routing, key: place.key,
        isTraining: isTraining, dprobability: dcombine,
        auxiliaryScale: rule.auxLossCoefficient / Float(microBatches), into: gradients.gate,
        on: workers)
    case .topK:
      top.backward(
        x, weight: gate.weight, units: units, routing: routing, key: place.key,
        isTraining: isTraining, dcombine: dcombine, losses: losses, into: gradients.gate,
        on: workers)
    }
    if let shared, let units {
      shared.backward(units.dInputs, dx: gradients.gate.x, dtasks: gradients.tasks)
    }
  }

  private func decisions(_ shared: SharedDecisions, _ x: Matrix, _ gate: Parameters) -> GateUnits {
    let rows = 0..<shared.count
    shared.forward(x, tasks: gate.tasks, into: units.rows(rows))
    return GateUnits(
      inputs: units.rows(rows), dInputs: dUnits.rows(rows), ofToken: shared.ofToken)
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
  /// Those that are there, of each layer that has any.
  private let kept: [Int]
  private let microBatches: Int

  init(_ description: ModelDescription, microBatches: Int) {
    if case .topK(let rule) = description.routing { self.rule = rule } else { rule = nil }
    experts = description.experts.count
    kept = description.layers.compactMap(\.keptExperts).map(\.count)
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
        experts: experts, there: rule.pool == .layer ? kept[mixture] : kept.max(),
        groups: rule.pool == .sequence ? place.sequences.count : 1,
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

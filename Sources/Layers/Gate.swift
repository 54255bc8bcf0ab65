import Base
package import Kernels

/// The top-1 gate of an MoE layer (Fedus, Zoph and Shazeer, "Switch transformers", 2021; capacity
/// and balance loss as DeepSpeed computes them), in fp32 throughout.
///
/// Legend: S tokens of one micro-batch, D model width, E experts. The weight is [E, D].
package struct Gate: Sendable {
  package let experts: Int
  /// Capacity per expert = max(ceil(S * factor / E), minimum); nil: no token is dropped.
  package let capacityFactor: Double?
  package let capacityMinimum: Int
  package let selection: TokenSelection
  let projection: GateProjection
  private let selectionStream: Philox

  /// - Parameter jitter: in training the gate's input is multiplied by a number in 1 - jitter ..< 1
  ///   + jitter; 0: off.
  package init(
    experts: Int, width: Int, tokensMax: Int, capacityFactor: Double?, capacityMinimum: Int = 4,
    selection: TokenSelection = .random, jitter: Float = 0, seed: UInt64
  ) {
    precondition(experts > 0, "at least one expert")
    precondition(capacityFactor.map { $0 > 0 } ?? true, "a capacity factor is positive")
    precondition(capacityMinimum >= 0, "a capacity is not negative")
    self.experts = experts
    self.capacityFactor = capacityFactor
    self.capacityMinimum = capacityMinimum
    self.selection = selection
    projection = GateProjection(
      experts: experts, width: width, tokensMax: tokensMax, jitter: jitter, seed: seed)
    selectionStream = Philox(seed: seed, purpose: .tokenSelection)
  }

  /// Tokens one of `kept` experts may take of a micro-batch of `tokens`; nil without a limit.
  package func capacity(tokens: Int, kept: KeptExperts? = nil) -> Int? {
    let experts = kept?.count ?? experts
    return capacityFactor.map {
      max(Int((Double(tokens) * $0 / Double(experts)).rounded(.up)), capacityMinimum)
    }
  }

  /// Routes the rows of x_SD.
  /// - Parameters:
  ///   - units: what decides for the tokens together; nil: each for itself.
  ///   - isLimited: whether an expert that is full drops tokens.
  ///   - kept: the experts that there are; nil: all.
  ///   - probabilities: [S, E], written, and kept by the result.
  package func forward(
    _ x: Matrix, weight: Matrix, units: GateUnits? = nil, key: GateKey, isTraining: Bool,
    isLimited: Bool = true, kept: KeptExperts? = nil, probabilities: Matrix, on workers: Workers
  ) -> Routing {
    projection.forward(
      x, weight: weight, bias: nil, units: units, key: isTraining ? key : nil,
      into: probabilities, on: workers)
    return route(
      logits: probabilities, key: key, isLimited: isLimited, kept: kept, on: workers)
  }

  /// Routes by logits [S, E], which become the probabilities of the result, in place.
  package func route(
    logits: Matrix, key: GateKey, isLimited: Bool = true, kept there: KeptExperts? = nil,
    on workers: Workers
  ) -> Routing {
    precondition(logits.columns == experts, "a logit per expert")
    there?.mask(logits)
    let choice = (0..<logits.rows).map { token in
      Int32(there?.likeliest(logits.row(token)) ?? indexOfLargest(logits.row(token)))
    }
    var counts = Array(repeating: 0, count: experts)
    for expert in choice { counts[Int(expert)] += 1 }
    softmaxRows(logits, on: workers)
    let capacity = isLimited ? capacity(tokens: choice.count, kept: there) : nil
    let probability = choice.indices.map { logits[$0, Int(choice[$0])] }
    let kept = selection.keep(
      choice: choice, probability: probability, counts: counts,
      capacity: capacity ?? choice.count, stream: selectionStream, key: key)
    return Routing(
      choice: choice, kept: kept, probability: probability, probabilities: logits,
      counts: counts, auxiliaryLoss: balance(logits, counts, there?.count ?? experts),
      capacity: capacity)
  }

  /// E * sum over e of mean_s p[s, e] * counts[e] / S, before any token is dropped.
  private func balance(_ probabilities: Matrix, _ counts: [Int], _ there: Int) -> Double {
    guard probabilities.rows > 0 else { return 0 }
    var sums = Array(repeating: 0.0, count: experts)
    for token in 0..<probabilities.rows {
      let p = probabilities.row(token)
      for expert in 0..<experts { sums[expert] += Double(p[expert]) }
    }
    let products = zip(sums, counts).reduce(0) { $0 + $1.0 * Double($1.1) }
    let tokens = Double(probabilities.rows)
    return Double(there) * products / (tokens * tokens)
  }
}

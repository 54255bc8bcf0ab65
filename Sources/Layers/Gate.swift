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
  /// In training the gate's input is multiplied by a number in 1 - jitter ..< 1 + jitter; 0: off.
  let jitter: GateJitter
  private let selectionStream: Philox
  /// Scratch: dlogits [S, E], and with jitter the input as the gate saw it, [S, D].
  let dlogits: Matrix
  let jittered: Matrix

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
    self.jitter = GateJitter(amount: jitter, seed: seed)
    selectionStream = Philox(seed: seed, purpose: .tokenSelection)
    dlogits = Matrix(rows: tokensMax, columns: experts)
    jittered = Matrix(rows: jitter > 0 ? tokensMax : 0, columns: width)
  }

  /// Tokens one expert may take of a micro-batch of `tokens`; nil without a limit.
  package func capacity(tokens: Int) -> Int? {
    capacityFactor.map {
      max(Int((Double(tokens) * $0 / Double(experts)).rounded(.up)), capacityMinimum)
    }
  }

  /// Routes the rows of x_SD. `probabilities`, [S, E], is written and kept by the result.
  package func forward(
    _ x: Matrix, weight: Matrix, key: GateKey, isTraining: Bool, probabilities: Matrix,
    on workers: Workers
  ) -> Routing {
    check(x, weight, probabilities)
    let input = input(x, key, isTraining, on: workers)
    matmul(input, weight, transposeB: true, into: probabilities, on: workers)
    return route(logits: probabilities, key: key, on: workers)
  }

  /// Routes by logits [S, E], which become the probabilities of the result, in place.
  package func route(logits: Matrix, key: GateKey, on workers: Workers) -> Routing {
    precondition(logits.columns == experts, "a logit per expert")
    let choice = (0..<logits.rows).map { Int32(indexOfLargest(logits.row($0))) }
    var counts = Array(repeating: 0, count: experts)
    for expert in choice { counts[Int(expert)] += 1 }
    softmaxRows(logits, on: workers)
    let capacity = capacity(tokens: choice.count)
    let kept = selection.keep(
      choice: choice, counts: counts, capacity: capacity ?? choice.count, stream: selectionStream,
      key: key)
    return Routing(
      choice: choice, kept: kept, probability: choice.indices.map { logits[$0, Int(choice[$0])] },
      probabilities: logits, counts: counts, auxiliaryLoss: balance(logits, counts),
      capacity: capacity)
  }

  /// E * sum over e of mean_s p[s, e] * counts[e] / S, before any token is dropped.
  private func balance(_ probabilities: Matrix, _ counts: [Int]) -> Double {
    guard probabilities.rows > 0 else { return 0 }
    var sums = Array(repeating: 0.0, count: experts)
    for token in 0..<probabilities.rows {
      let p = probabilities.row(token)
      for expert in 0..<experts { sums[expert] += Double(p[expert]) }
    }
    let products = zip(sums, counts).reduce(0) { $0 + $1.0 * Double($1.1) }
    let tokens = Double(probabilities.rows)
    return Double(experts) * products / (tokens * tokens)
  }

  func check(_ x: Matrix, _ weight: Matrix, _ probabilities: Matrix) {
    precondition(weight.rows == experts && weight.columns == x.columns, "weight is [E, D]")
    precondition(probabilities.rows == x.rows, "probabilities are [S, E]")
    precondition(probabilities.columns == experts, "probabilities are [S, E]")
    precondition(x.rows <= dlogits.rows, "a micro-batch within the limit given at init")
    precondition(jitter.amount == 0 || jittered.columns == x.columns, "the width given at init")
  }
}

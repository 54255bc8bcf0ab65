import Glibc

/// How fast the pairs of columns of a head turn with the position: column pair j by base^(-2 j / H)
/// a position, in heads of H columns, slowed down where a model was stretched to sequences longer
/// than those it began with.
package struct RotaryPositions: Hashable, Sendable {
  package enum Scaling: Hashable, Sendable {
    case none
    /// All pairs by one factor (Chen et al., "Position interpolation", 2023).
    case linear(factor: Double)
    /// Pairs that turn fewer than `slow` times within `length` positions by the factor, those that
    /// turn more than `fast` times not at all, others in between, as Llama 3.1 has it.
    case byTurns(factor: Double, slow: Double, fast: Double, length: Double)
    /// YaRN (Peng et al., 2023): the same with a ramp over the numbers of the pairs, which begins and
    /// ends at whole ones if `isRounded`; queries and keys are multiplied by `amplitude`.
    case ramp(
      factor: Double, slow: Double, fast: Double, length: Double, isRounded: Bool,
      amplitude: Double)
  }

  package let base: Double
  package let scaling: Scaling

  package init(base: Double, scaling: Scaling = .none) {
    precondition(base > 1, "frequencies that fall")
    (self.base, self.scaling) = (base, scaling)
  }

  /// What turned queries and keys are multiplied by.
  package var amplitude: Double {
    if case .ramp(_, _, _, _, _, let amplitude) = scaling { amplitude } else { 1 }
  }

  /// Radians a position, of each pair.
  package func frequencies(headWidth: Int) -> [Double] {
    (0..<headWidth / 2).map { pair in
      let frequency = pow(base, -Double(2 * pair) / Double(headWidth))
      return frequency * share(pair, frequency, headWidth)
    }
  }

  /// What is left of the frequency of a pair.
  private func share(_ pair: Int, _ frequency: Double, _ headWidth: Int) -> Double {
    switch scaling {
    case .none: return 1
    case .linear(let factor): return 1 / factor
    case .byTurns(let factor, let slow, let fast, let length):
      let turns = length * frequency / (2 * .pi)
      let weight = max(0, min(1, (turns - slow) / (fast - slow)))
      return (1 - weight) / factor + weight
    case .ramp(let factor, let slow, let fast, let length, let isRounded, _):
      func pairThatTurns(_ times: Double) -> Double {
        Double(headWidth) * log(length / (times * 2 * .pi)) / (2 * log(base))
      }
      var (first, last) = (pairThatTurns(fast), pairThatTurns(slow))
      if isRounded { (first, last) = (first.rounded(.down), last.rounded(.up)) }
      (first, last) = (max(first, 0), min(last, Double(headWidth - 1)))
      // Equal ends would be a step; this is as steep as transformers makes it.
      if first == last { last += 0.001 }
      let ramp = max(0, min(1, (Double(pair) - first) / (last - first)))
      return ramp / factor + (1 - ramp)
    }
  }
}

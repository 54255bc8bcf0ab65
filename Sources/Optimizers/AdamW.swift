/// AdamW with PyTorch's conventions (Loshchilov and Hutter, "Decoupled weight decay
/// regularization", ICLR 2019): for a gradient g = scale * gradient at step t = 1, 2, ...
///
///     w -= learningRate * weightDecay * w
///     m += (1 - beta1) (g - m)
///     v  = beta2 v + (1 - beta2) g^2
///     w -= learningRate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)
package struct AdamW: Sendable {
  package var beta1: Double
  package var beta2: Double
  package var epsilon: Double
  package var weightDecay: Double

  package init(
    beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0.01
  ) {
    precondition(0 <= beta1 && beta1 < 1, "beta1 in 0..<1")
    precondition(0 <= beta2 && beta2 < 1, "beta2 in 0..<1")
    precondition(epsilon > 0, "epsilon is positive")
    precondition(weightDecay >= 0, "weight decay is not negative")
    (self.beta1, self.beta2) = (beta1, beta2)
    (self.epsilon, self.weightDecay) = (epsilon, weightDecay)
  }

  /// The numbers of step `index` (from 1): `gradientScale` multiplies every gradient, as clipping
  /// wants it.
  package func step(_ index: Int, learningRate: Double, gradientScale: Float = 1) -> AdamWStep {
    AdamWStep(self, index: index, learningRate: learningRate, gradientScale: gradientScale)
  }
}

/// What the update of every element at one step has in common, computed in Double, rounded once.
package struct AdamWStep: Sendable {
  @usableFromInline let gradientScale: Float
  @usableFromInline let keep: Float
  @usableFromInline let momentumRate: Float
  @usableFromInline let varianceKeep: Float
  @usableFromInline let varianceRate: Float
  @usableFromInline let rate: Float
  @usableFromInline let inverseRootCorrection: Float
  @usableFromInline let epsilon: Float

  init(_ optimizer: AdamW, index: Int, learningRate: Double, gradientScale: Float) {
    precondition(index >= 1, "steps count from 1")
    precondition(learningRate >= 0, "a learning rate is not negative")
    self.gradientScale = gradientScale
    keep = Float(1 - learningRate * optimizer.weightDecay)
    momentumRate = Float(1 - optimizer.beta1)
    varianceKeep = Float(optimizer.beta2)
    varianceRate = Float(1 - optimizer.beta2)
    rate = Float(learningRate / (1 - power(optimizer.beta1, index)))
    inverseRootCorrection = Float(1 / (1 - power(optimizer.beta2, index)).squareRoot())
    epsilon = Float(optimizer.epsilon)
  }

  /// One element: the new weight, with its moments updated.
  @inline(__always)
  func updated(_ weight: Float, _ m: inout Float, _ v: inout Float, _ gradient: Float) -> Float {
    m = firstMoment(m, gradient)
    v = secondMoment(v, gradient)
    return moved(weight, m: m, root: v.squareRoot())
  }

  /// m of this step, from that of the step before.
  @inline(__always)
  func firstMoment(_ m: Float, _ gradient: Float) -> Float {
    m.addingProduct(momentumRate, gradient * gradientScale - m)
  }

  /// v of this step, from that of the step before.
  @inline(__always)
  func secondMoment(_ v: Float, _ gradient: Float) -> Float {
    let g = gradient * gradientScale
    return (varianceKeep * v).addingProduct(varianceRate * g, g)
  }

  /// The new weight, from this step's m and sqrt(v).
  @inline(__always)
  func moved(_ weight: Float, m: Float, root: Float) -> Float {
    let denominator = epsilon.addingProduct(root, inverseRootCorrection)
    return (weight * keep).addingProduct(-rate, m / denominator)
  }

  /// Whether moments are the same under both: only the decay of weights may differ.
  func hasMoments(of other: AdamWStep) -> Bool {
    gradientScale == other.gradientScale && momentumRate == other.momentumRate
      && varianceKeep == other.varianceKeep && varianceRate == other.varianceRate
  }
}

/// base^exponent by squaring.
private func power(_ base: Double, _ exponent: Int) -> Double {
  var (result, factor, left) = (1.0, base, exponent)
  while left > 0 {
    if left & 1 == 1 { result *= factor }
    factor *= factor
    left >>= 1
  }
  return result
}

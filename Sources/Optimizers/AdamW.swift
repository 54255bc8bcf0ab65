package import Kernels

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

extension AdamWStep {
  /// Computed in Double, rounded once.
  init(_ optimizer: AdamW, index: Int, learningRate: Double, gradientScale: Float) {
    precondition(index >= 1, "steps count from 1")
    precondition(learningRate >= 0, "a learning rate is not negative")
    self.init(
      gradientScale: gradientScale, keep: Float(1 - learningRate * optimizer.weightDecay),
      momentumRate: Float(1 - optimizer.beta1), varianceKeep: Float(optimizer.beta2),
      varianceRate: Float(1 - optimizer.beta2),
      rate: Float(learningRate / (1 - power(optimizer.beta1, index))),
      inverseRootCorrection: Float(1 / (1 - power(optimizer.beta2, index)).squareRoot()),
      epsilon: Float(optimizer.epsilon))
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

/// What AdamW's update of every element at one step has in common, and the update of one.
package struct AdamWStep: Sendable {
  /// Of the gradient.
  let gradientScale: Float
  /// 1 - learningRate * weightDecay.
  let keep: Float
  /// 1 - beta1.
  let momentumRate: Float
  /// beta2, and 1 - beta2.
  let varianceKeep: Float
  let varianceRate: Float
  /// learningRate / (1 - beta1^t).
  let rate: Float
  /// 1 / sqrt(1 - beta2^t).
  let inverseRootCorrection: Float
  let epsilon: Float

  package init(
    gradientScale: Float, keep: Float, momentumRate: Float, varianceKeep: Float,
    varianceRate: Float, rate: Float, inverseRootCorrection: Float, epsilon: Float
  ) {
    (self.gradientScale, self.keep) = (gradientScale, keep)
    self.momentumRate = momentumRate
    (self.varianceKeep, self.varianceRate) = (varianceKeep, varianceRate)
    (self.rate, self.inverseRootCorrection) = (rate, inverseRootCorrection)
    self.epsilon = epsilon
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
  package func hasMoments(of other: AdamWStep) -> Bool {
    gradientScale == other.gradientScale && momentumRate == other.momentumRate
      && varianceKeep == other.varianceKeep && varianceRate == other.varianceRate
  }
}

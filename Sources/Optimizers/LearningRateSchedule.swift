import Glibc

/// The learning rate as a pure function of the step, so that a resumed run needs no state.
///
/// Linear warm-up over `warmupSteps`, reaching `peak` at step `warmupSteps`; then, until
/// `totalSteps`:
///
///     constant        peak
///     linear          straight line from peak to minimumRatio * peak
///     cosine          half a cosine from peak to minimumRatio * peak
///     inverseSqrt     peak * sqrt(warmupSteps / step), not below minimumRatio * peak
///
/// After `totalSteps`, linear and cosine stay at their end. Steps count from 1, the first to be
/// taken: no step is wasted at rate 0.
package struct LearningRateSchedule: Sendable {
  package enum Shape: String, Sendable, CaseIterable {
    case constant, linear, cosine
    case inverseSqrt = "inverse_sqrt"
  }

  package let shape: Shape
  package let peak: Double
  package let warmupSteps: Int
  package let totalSteps: Int
  package let minimumRatio: Double

  package init(
    _ shape: Shape, peak: Double, warmupSteps: Int, totalSteps: Int, minimumRatio: Double = 0
  ) {
    precondition(peak >= 0, "a learning rate is not negative")
    precondition(warmupSteps >= 0, "warm-up is not negative")
    precondition(totalSteps >= 0, "total steps are not negative")
    precondition(0 <= minimumRatio && minimumRatio <= 1, "the minimum is a share of the peak")
    self.shape = shape
    self.peak = peak
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
    self.minimumRatio = minimumRatio
  }

  /// The rate of step `step`, counted from 1.
  package func rate(_ step: Int) -> Double {
    precondition(step >= 1, "steps count from 1")
    if step < warmupSteps { return peak * Double(step) / Double(warmupSteps) }
    return peak * ratio(step)
  }

  private func ratio(_ step: Int) -> Double {
    switch shape {
    case .constant: return 1
    case .linear: return minimumRatio + (1 - minimumRatio) * (1 - progress(step))
    case .cosine:
      return minimumRatio + (1 - minimumRatio) * (1 + cos(.pi * progress(step))) / 2
    case .inverseSqrt:
      return max(minimumRatio, (Double(max(1, warmupSteps)) / Double(step)).squareRoot())
    }
  }

  /// 0 at the step after the warm-up, 1 after `totalSteps`: the last of them still learns.
  private func progress(_ step: Int) -> Double {
    let length = totalSteps - warmupSteps
    guard length > 0 else { return 1 }
    return min(1, max(0, Double(step - 1 - warmupSteps) / Double(length)))
  }
}

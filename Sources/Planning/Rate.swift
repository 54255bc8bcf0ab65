import Base

/// A rate over the rounds of a run, in GB/s with GB = 1e9 bytes: its median and its extremes.
package struct Rate: Codable, Hashable, Sendable {
  package let median: Double
  package let low: Double
  package let high: Double
  /// By round.
  package let samples: [Double]

  /// - Parameter samples: one of each round, at least one.
  package init(_ samples: [Double]) {
    precondition(!samples.isEmpty, "a rate is measured at least once")
    self.samples = samples
    median = Base.median(samples)
    low = samples.min()!
    high = samples.max()!
  }
}

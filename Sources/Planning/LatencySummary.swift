import Histogram

/// How long requests took, in nanoseconds from submission to completion.
package struct LatencySummary: Codable, Hashable, Sendable {
  package struct Percentile: Codable, Hashable, Sendable {
    package let percent: Double
    package let nanoseconds: UInt64
  }

  package let minimum: UInt64
  package let maximum: UInt64
  package let mean: Double
  package let standardDeviation: Double
  /// In ascending order, those that fio gives.
  package let percentiles: [Percentile]

  private static let percents = [
    1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 99.5, 99.9, 99.95, 99.99,
  ]

  init?(_ histogram: Histogram<UInt32>) {
    guard histogram.totalCount > 0 else { return nil }
    minimum = histogram.min
    let longest = histogram.maxRecorded
    maximum = longest
    mean = histogram.mean
    standardDeviation = histogram.stdDeviation
    percentiles = Self.percents.map {
      Percentile(percent: $0, nanoseconds: min(histogram.valueAtPercentile($0), longest))
    }
  }

  /// One of the percentiles above; 0 for others.
  package func nanoseconds(at percent: Double) -> UInt64 {
    percentiles.first { $0.percent == percent }?.nanoseconds ?? 0
  }
}

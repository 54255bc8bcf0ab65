/// What the trials of a variant come to beside those of full precision from the same seeds.
package struct Verdict: Codable, Sendable {
  package let variant: String
  package let bytesPerParameter: Double
  package let heldOutLoss: Double
  /// Mean over seeds of the loss less that of full precision from the same seed, as a share of the
  /// latter; and the worst of them.
  package let worseBy: Double
  package let worseByAtMost: Double
  /// Deviation of full precision's losses over seeds, as a share of their mean.
  package let seedSpread: Double
  package let isWithinBound: Bool

  /// A variant may be worse by 1 % of the loss, in the mean over seeds: the papers on 8-bit states
  /// report differences within the noise of seeds, which is about as much in runs as short as these,
  /// and a few per cent more steps make up for it. Being better is no fault.
  package static let bound = 0.01

  /// - Parameter trials: of all variants, with those of `Variant.standard`.
  package static func all(_ trials: [Trial]) -> [Verdict] {
    let standard = trials.filter { $0.variant == Variant.standard.name }
    let bySeed = Dictionary(uniqueKeysWithValues: standard.map { ($0.seed, $0.heldOutLoss) })
    let average = mean(standard.map(\.heldOutLoss))
    let deviations = standard.map { ($0.heldOutLoss - average) * ($0.heldOutLoss - average) }
    let spread =
      (deviations.reduce(0, +) / Double(max(1, standard.count - 1))).squareRoot() / average
    var names: [String] = []
    for trial in trials where !names.contains(trial.variant) { names.append(trial.variant) }
    return names.map { name in
      let own = trials.filter { $0.variant == name && bySeed[$0.seed] != nil }
      let worse = own.map { $0.heldOutLoss / bySeed[$0.seed]! - 1 }
      return Verdict(
        variant: name, bytesPerParameter: own.first?.bytesPerParameter ?? 0,
        heldOutLoss: mean(own.map(\.heldOutLoss)), worseBy: mean(worse),
        worseByAtMost: worse.max() ?? 0, seedSpread: spread,
        isWithinBound: mean(worse) <= bound)
    }
  }

  private static func mean(_ values: [Double]) -> Double {
    values.reduce(0, +) / Double(max(1, values.count))
  }
}

package import Training

/// One run of one variant from one seed.
package struct Trial: Codable, Sendable {
  package let variant: String
  package let seed: Int
  package let steps: Int
  /// Held-out cross-entropy per target token after the last step, and of the tokens of the last tenth
  /// of the steps.
  package let heldOutLoss: Double
  package let trainingLoss: Double
  package let bytesPerParameter: Double
  package let seconds: Double

  /// Trains resident: what is computed does not depend on the budget.
  /// - Parameter store: a directory that does not exist yet.
  package init(_ variant: Variant, _ config: RunConfig, seed: Int, store: String) throws {
    var config = config
    config.seed = seed
    config.memory.resident = true
    let start = ContinuousClock.now
    var session = try TrainingSession(config, storePaths: [store])
    steps = config.training.max_steps
    var losses: [Double] = []
    while session.nextStep <= steps { losses.append(try session.runStep().loss) }
    let last = losses.suffix(max(1, steps / 10))
    (self.variant, self.seed) = (variant.name, seed)
    heldOutLoss = try session.evaluate().loss
    trainingLoss = last.reduce(0, +) / Double(last.count)
    bytesPerParameter = session.bytesPerParameter
    seconds = (ContinuousClock.now - start) / .seconds(1)
  }
}

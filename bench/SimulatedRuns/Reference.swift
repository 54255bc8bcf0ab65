import Base
import Simulation
import Storage
import Training

/// A run that nothing disturbs: what every other run of its model must compute.
struct Reference {
  /// Of step 1 and so on.
  private(set) var losses: [[UInt64]] = []
  /// Bit patterns of the held-out loss after each step.
  private(set) var evaluations: [UInt64] = []
  /// The checksum of every plane of every block after each step.
  private(set) var checksums: [[BlockID: PlaneValues<UInt64>]] = []

  /// Computes all steps with everything in memory, a commit after each.
  init(_ model: TinyModel, corpus: String, scratch: Scratch) throws {
    let place = try scratch.directory("reference")
    defer { place.remove() }
    var config = model.configuration(corpus: corpus)
    config.memory.resident = true
    let machine = SimulatedMachine(seed: 0, root: place.path)
    var session = try TrainingSession(
      config, storePaths: [place.path + "/a"], profiles: place.profiles, disk: machine.start())
    for _ in 1...TinyModel.stepsMax {
      losses.append(try session.runStep().computed)
      evaluations.append(try session.evaluate().loss.bitPattern)
      try session.commit()
      checksums.append(session.store.committedChecksums)
    }
  }
}

extension Store {
  /// The checksums of all planes of all blocks.
  var committedChecksums: [BlockID: PlaneValues<UInt64>] {
    var all: [BlockID: PlaneValues<UInt64>] = [:]
    for block in writtenBlocks { all[block] = record(of: block)?.checksums }
    return all
  }
}

extension StepMetrics {
  /// What must be equal to the bit; times and bytes are not.
  var computed: [UInt64] {
    [loss, aux_loss, grad_norm, learning_rate, dropped].map(\.bitPattern) + [UInt64(tokens)]
  }
}

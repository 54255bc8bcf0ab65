import Base
import Corpus
import DirectIO
import Foundation
import Simulation
import Storage
import TestSupport
import Training

/// Runs of a very small model over the test corpus, each with a store of its own.
struct TinyRun {
  let directory: TemporaryDirectory
  var config: RunConfig

  init() throws {
    directory = try TemporaryDirectory()
    config = RunConfig()
    config.seed = 11
    config.data.corpus = try Fixture.shared.corpus.directory
    config.data.max_sequence_tokens = 60
    config.model.d_model = 32
    config.model.encoder_layers = 2
    config.model.decoder_layers = 2
    config.model.num_attention_heads = 2
    config.model.ffn_dim = 64
    config.model.num_experts = 6
    config.model.router_jitter_noise = 0.05
    config.training.micro_batch_tokens = 128
    config.training.gradient_accumulation_steps = 2
    config.training.learning_rate = 3e-3
    config.training.warmup_steps = 4
    config.training.max_steps = 8
    config.evaluation.max_tokens = 256
    config.compute.threads = 1
    // 32 * 64 * 2 parameters of 12 bytes are 48 KiB: an expert is cut into two slices.
    config.storage.block_bytes = "24KiB"
  }

  var storePaths: [String] {
    config.storage.paths.isEmpty ? [directory.path + "/store"] : config.storage.paths
  }

  /// What is remembered of drives: nothing, unless a test says so.
  var profiles: DriveProfiles { DriveProfiles(path: directory.path + "/drives.json") }

  func session() throws -> TrainingSession {
    try TrainingSession(config, storePaths: storePaths, profiles: profiles)
  }

  func leastBudget() throws -> Int { try config.leastBudget() }

  /// Runs to `last` in a session of its own and commits; the metrics of its steps.
  func train(to last: Int) throws -> [StepMetrics] {
    var session = try session()
    var metrics: [StepMetrics] = []
    while session.nextStep <= last { metrics.append(try session.runStep()) }
    try session.commit()
    return metrics
  }

  /// Trains to `last`, with a commit after every step, on a disk on which one call and all later ones
  /// fail; again and again with a later call, each time from where the run has come to; at the end on
  /// a disk that works.
  /// - Returns: the metrics of each step as it was computed last, and the transfers of scratches that
  ///   ended a life.
  func trainThroughFaults(to last: Int) throws -> (metrics: [StepMetrics?], failures: [DiskError]) {
    let medium = SimulatedMedium(seed: 3)
    var metrics: [Int: StepMetrics] = [:]
    func live(_ faults: [Fault]) throws {
      let disk = SimulatedDisk(medium, seed: 5, faults: faults)
      var session = try TrainingSession(
        config, storePaths: storePaths, profiles: profiles, disk: disk)
      while session.nextStep <= last {
        let line = try session.runStep()
        // Steps whose commit fails are done again.
        metrics[line.step] = line
        try session.commit()
      }
    }
    var failures: [DiskError] = []
    for number in stride(from: 7, through: 400, by: 31) {
      do {
        try live([.call(number, errno: EIO, isPersistent: true)])
      } catch StorageError.scratch(let failure, _) {
        failures.append(failure)
      } catch is StorageError {}
    }
    try live([])
    return ((1...last).map { metrics[$0] }, failures)
  }

  func reader() throws -> Store {
    try Store.openReadOnly(paths: storePaths, disk: openDisk().disk)
  }

  func alone() throws -> Store { try Store.openAlone(paths: storePaths, disk: openDisk().disk) }

  /// The checksum of every plane of every block of the last generation: equal if all bits are.
  func checksums() throws -> [BlockID: [UInt64]] {
    let store = try reader()
    var all: [BlockID: [UInt64]] = [:]
    for block in store.writtenBlocks {
      guard let sums = store.record(of: block)?.checksums else { continue }
      all[block] = [sums.hi, sums.lo, sums.m, sums.v]
    }
    return all
  }
}

extension StepMetrics {
  /// What must be equal to the bit between two runs; times and bytes are not.
  var computed: [UInt64] {
    [loss, aux_loss, grad_norm, learning_rate, dropped].map(\.bitPattern) + [UInt64(tokens)]
  }
}

extension RunConfig {
  /// The least budget that is accepted: what the refusals say is missing is added until none comes.
  func leastBudget() throws -> Int {
    var config = self
    config.memory.budget = "1MiB"
    while true {
      let scratch = try TemporaryDirectory()
      do {
        _ = try TrainingSession(config, storePaths: [scratch.path + "/store"])
        return try config.bytes(config.memory.budget, key: "memory.budget")
      } catch let refusal as MemoryRefusal {
        let budget = try config.bytes(config.memory.budget, key: "memory.budget")
        config.memory.budget = "\(budget + refusal.missing)"
      }
    }
  }
}

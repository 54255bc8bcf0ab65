import Base
import Foundation
import Models
import Storage
import Training

/// What a run takes, whatever its budget.
struct RunSizes {
  /// The experts' weights and moments.
  let stateBytes: Int
  /// Everything but page frames.
  let fixedBytes: Int
  let recordBytes: Int
  let experts: ExpertShape
  let threads: Int

  /// Frames that paging cannot do without.
  var leastPoolBytes: Int { 4 * recordBytes }

  /// Opens the run and closes it again.
  init(_ config: RunConfig, scratch: String) throws {
    let scratch = try ScratchDirectory(in: scratch)
    let session = try TrainingSession(config, storePaths: ["\(scratch.path)/store"])
    stateBytes = session.expertStateBytes
    fixedBytes = session.plan.fixed.reduce(0) { $0 + $1.bytes }
    recordBytes = session.store.geometry.recordBytes
    experts = session.experts
    threads = config.compute.threads > 0 ? config.compute.threads : ProcessMemory.cores
  }
}

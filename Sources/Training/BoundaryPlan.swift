import Base
import Models
import Paging

/// Where boundary activations are between the two sweeps, as `training.boundaries` and
/// `memory.spill` say.
///
///     fp32, in memory    a matrix of the model for each boundary
///     bf16, in memory    a frame for each; the model has those of one layer as floats
///     on the disk        frames for those of one layer, and a file for all; likewise
package struct BoundaryPlan: Sendable, Equatable {
  package enum Spill: String, Sendable, CaseIterable {
    /// When the run does not fit otherwise.
    case automatic
    case never
    case always
  }

  /// What does without their file.
  static let withoutFile = "memory.spill=never where memory allows"

  let rule: BoundaryRule
  /// nil where the model keeps all itself.
  let scratch: ScratchSize?

  init(
    _ model: ModelDescription, _ limits: BatchLimits, _ precision: BoundaryRule.Precision,
    isOnDisk: Bool
  ) {
    let isWindow = isOnDisk || precision == .bf16
    rule = BoundaryRule(precision, isWindow: isWindow)
    let leaves = model.sublayerInputs
    let elementBytes = precision == .fp32 ? MemoryLayout<Float>.size : MemoryLayout<UInt16>.size
    scratch =
      isWindow
      ? ScratchSize(
        leaves: leaves, leafBytes: limits.rows * model.width * elementBytes,
        frames: isOnDisk ? model.sublayerInputsOfLayer : leaves) : nil
  }

  var isOnDisk: Bool { scratch?.isOnDisk ?? false }

  /// The share of the memory ceiling, beside the activations.
  var frames: MemoryLedger.Grant? {
    scratch.map { .init(name: "boundary frames", bytes: $0.memoryBytes) }
  }

  /// What to tell the user; nil where nothing leaves memory.
  var note: String? {
    guard let scratch, scratch.isOnDisk else { return nil }
    return "boundary activations: \(ByteCount(scratch.fileBytes)) in a scratch file of the store, "
      + "\(ByteCount(scratch.memoryBytes)) of frames in memory (memory.spill)"
  }
}

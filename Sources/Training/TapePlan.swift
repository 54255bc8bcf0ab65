import Base
import Models

/// Which layers keep what the backward sweep would compute again, as `memory.recompute` says: the last
/// ones, as many as there is room for.
///
/// A byte of it saves half as many operations as the model is wide, far more time than the disk needs for
/// a byte: so it is worth more than a byte of page frames wherever arithmetic is what a step waits for.
/// Where that is the disk, frames save reads. Half of what paging does not need goes to either.
struct TapePlan: Sendable, Equatable {
  enum Recompute: String, Sendable, CaseIterable {
    /// Keeps as many layers as the budget has room for.
    case automatic
    /// Keeps all layers.
    case never
    /// Keeps none.
    case always
  }

  /// Bytes by layer.
  private let bytes: [Int]
  /// The layers that keep theirs.
  private(set) var layers: Range<Int>

  init(_ model: ModelDescription, _ limits: BatchLimits, _ recompute: Recompute) {
    bytes = model.tapeBytes(limits)
    layers = recompute == .never ? 0..<bytes.count : bytes.count..<bytes.count
  }

  /// The last layers that fit into `room` bytes.
  mutating func fill(_ room: Int) {
    var (first, left) = (bytes.count, room)
    while first > 0, bytes[first - 1] <= left {
      first -= 1
      left -= bytes[first]
    }
    layers = first..<bytes.count
  }

  /// The share of the memory ceiling.
  var memory: MemoryLedger.Grant? {
    guard !layers.isEmpty else { return nil }
    return .init(name: "activations kept for the backward sweep", bytes: keptBytes)
  }
  private var keptBytes: Int { bytes[layers].reduce(0, +) }

  /// What to tell the user; nil where nothing is computed twice.
  var note: String? {
    guard layers.count < bytes.count else { return nil }
    let missing = bytes.reduce(0, +) - keptBytes
    return "activations: the backward sweep computes those of \(bytes.count - layers.count) of "
      + "\(bytes.count) layers again; keeping them takes \(ByteCount(missing)) more memory "
      + "(memory.recompute)"
  }
}

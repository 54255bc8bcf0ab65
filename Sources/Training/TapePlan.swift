import Base
import Models
import Paging

/// Which layers keep what the backward sweep would compute again, and where, as `memory.recompute` says.
///
/// A byte of it saves half as many operations as the model is wide, far more time than the disk needs for
/// a byte: so it is worth more than a byte of page frames wherever arithmetic is what a step waits for.
/// Where that is the disk, frames save reads. Half of what paging does not need goes to either.
package struct TapePlan: Sendable, Equatable {
  enum Recompute: String, Sendable, CaseIterable {
    /// Keeps as many layers as the budget has room for, and the rest on the drives of the store where
    /// those should have time for it.
    case automatic
    /// Keeps all layers in memory.
    case never
    /// Keeps none.
    case always
    /// Keeps all layers, those on the drives of the store that the budget has no room for.
    case spill
  }

  /// Sublayers whose tapes are in memory at a time while the others are on the disk: one is used, one
  /// under way.
  private static let frames = 2

  /// What does without their file.
  static let withoutFile = "memory.recompute=always"

  let recompute: Recompute
  /// Whether the drives take what the budget has no room for.
  var usesDrives: Bool
  /// Bytes by layer and sublayer.
  private let bytes: [[Int]]
  /// The layers that keep theirs in memory: the last ones.
  private(set) var inMemory: Range<Int>

  init(_ model: ModelDescription, _ limits: BatchLimits, _ recompute: Recompute) {
    self.recompute = recompute
    usesDrives = recompute == .spill
    bytes = model.layers.map { layer in
      layer.sublayers.map { model.tapeBytes(layer, $0, limits) }
    }
    inMemory = recompute == .never ? 0..<bytes.count : bytes.count..<bytes.count
  }

  private func total(_ layers: Range<Int>) -> Int {
    bytes[layers].reduce(0) { $0 + $1.reduce(0, +) }
  }

  /// The last layers that fit into `room` bytes stay in memory.
  mutating func fill(_ room: Int) {
    // With all of them there, there are no frames.
    if total(0..<bytes.count) <= room + (scratch?.memoryBytes ?? 0) {
      inMemory = 0..<bytes.count
      return
    }
    var (first, left) = (bytes.count, room)
    while first > 0, total(first - 1..<first) <= left {
      first -= 1
      left -= total(first..<first + 1)
    }
    inMemory = first..<bytes.count
  }

  /// The layers that keep theirs on the disk.
  var onDisk: Range<Int> { usesDrives ? 0..<inMemory.lowerBound : 0..<0 }

  /// Whether drives should have time for tapes and to spare: an estimate from shapes alone, so that the
  /// plan of a run does not depend on the hour.
  ///
  /// Computing again, a step takes 8 operations for each parameter of an expert and each of its m
  /// tokens. A float that is kept takes 8 bytes to the drive and back, and there is one to d parameters
  /// at most (d: `width`). The drive moves that beside all else that it has to move: if it is done no
  /// later than that arithmetic, keeping is no slower.
  /// - Parameters:
  ///   - expertTokens: m, (token, expert) pairs of a step and layer to an expert.
  ///   - otherBytes: what the drive has to move in any case, by step and parameter of the experts.
  package static func drivesHaveTime(
    width: Int, expertTokens: Double, otherBytes: Double, threads: Int
  ) -> Bool {
    let operationsPerByte = Double(threads * operationsPerThreadAndByte)
    let tapeBytes = 8 * expertTokens / Double(width)
    return (otherBytes + tapeBytes) * operationsPerByte <= 8 * expertTokens
  }
  /// 75e9 operations a second beside a drive of 2e9 bytes. A faster drive, or a second one, has more
  /// time: the estimate errs towards computing again.
  private static let operationsPerThreadAndByte = 37

  /// For those.
  var scratch: ScratchSize? {
    let leaves = bytes[onDisk].flatMap { $0 }
    guard let largest = leaves.max() else { return nil }
    return ScratchSize(leaves: leaves.count, leafBytes: largest, frames: Self.frames)
  }

  /// The shares of the memory ceiling.
  var memory: [MemoryLedger.Grant] {
    [
      ("activations kept for the backward sweep", total(inMemory)),
      ("frames of those on the disk", scratch?.memoryBytes ?? 0),
    ].filter { $0.1 > 0 }.map { .init(name: $0.0, bytes: $0.1) }
  }

  /// What to tell the user; nil where nothing is computed twice or leaves memory.
  var note: String? {
    let rest = bytes.count - inMemory.count
    guard rest > 0 else { return nil }
    let layers = "\(rest) of \(bytes.count) layers"
    if let scratch {
      return "activations: those of \(layers) wait for the backward sweep in a scratch file of the "
        + "store, \(ByteCount(scratch.fileBytes)) (memory.recompute)"
    }
    let missing = ByteCount(total(0..<inMemory.lowerBound))
    return "activations: the backward sweep computes those of \(layers) again; keeping them takes "
      + "\(missing) more memory, or as much of the drives with memory.recompute=spill"
  }
}

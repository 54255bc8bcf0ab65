import Base
import DirectIO
import PinnedMemory
import Storage
import Tracing

/// Bytes that have been submitted and not yet reaped.
struct BytesInFlight {
  var read = 0
  var written = 0

  mutating func add(_ bytes: Int, _ kind: Transfer.Kind) {
    switch kind {
    case .read: read += bytes
    case .write: written += bytes
    }
  }
}

/// The beginning of a transfer on the timeline.
struct TracedTransfer {
  let start: UInt64
  let file: DiskFile
}

/// What is booked and traced of waits and transfers.
extension Pager {
  /// Books the time since `start`, during which the holder waited.
  /// - Parameter block: the one that was waited for; nil when no page was.
  mutating func bookStall(_ cause: StallCause, since start: UInt64, for block: BlockID? = nil) {
    let end = nanoseconds()
    let waited = elapsedSeconds(from: start, to: end)
    switch cause {
    case .read: counters.readStallSeconds += waited
    case .write: counters.writeStallSeconds += waited
    case .slot: counters.slotStallSeconds += waited
    }
    if isUnplanned { counters.unplannedStallSeconds += waited }
    trace.stall(cause, isUnplanned: isUnplanned, for: block, from: start, to: end)
  }

  /// Counts a transfer that is submitted now; returns its beginning, if that is traced.
  mutating func noteSubmitted(
    _ kind: Transfer.Kind, _ byteCount: Int, at file: DiskFile
  ) -> TracedTransfer? {
    bytesInFlight.add(byteCount, kind)
    guard trace.isRecording else { return nil }
    noteLevels()
    return TracedTransfer(start: nanoseconds(), file: file)
  }

  mutating func noteEnded(_ operation: Operation, _ byteCount: Int, hasFailed: Bool) {
    noteEnded(operation.kind, byteCount)
    guard let traced = operation.traced else { return }
    let planes = operation.first.rawValue...operation.last.rawValue
    trace.transfer(
      operation.kind == .read ? .read : .write, subject: operation.resident.block.rawValue,
      planes: planes.reduce(0) { $0 | 1 << $1 }, byteCount: byteCount, file: traced.file.index,
      hasFailed: hasFailed, from: traced.start, to: nanoseconds())
  }

  /// The same of a leaf of the scratch.
  mutating func noteEnded(
    _ kind: Transfer.Kind, leaf: Int, _ byteCount: Int, _ traced: TracedTransfer?, hasFailed: Bool
  ) {
    noteEnded(kind, byteCount)
    guard let traced else { return }
    trace.transfer(
      kind == .read ? .scratchRead : .scratchWrite, subject: Int64(leaf), byteCount: byteCount,
      file: traced.file.index, hasFailed: hasFailed, from: traced.start, to: nanoseconds())
  }

  private mutating func noteEnded(_ kind: Transfer.Kind, _ byteCount: Int) {
    bytesInFlight.add(-byteCount, kind)
    if trace.isRecording { noteLevels() }
  }

  private func noteLevels() {
    trace.levels(
      bytesRead: bytesInFlight.read, bytesWritten: bytesInFlight.written,
      weightFrames: weights.framesInUse, stateFrames: state.framesInUse)
  }

  /// Transfers that the timeline lacks, since they have not ended.
  package var tracedTransfersInFlight: Int {
    operations.values.count { $0.traced != nil }
      + scratches.reduce(0) { $0 + $1.inFlight.values.count { $0.traced != nil } }
  }
}

extension FrameShelf {
  fileprivate var framesInUse: Int { pool.frameCount - pool.freeCount }
}

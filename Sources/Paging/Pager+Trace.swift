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

  /// Counts a transfer that is submitted now; returns it with its beginning, if that is traced.
  mutating func noteSubmitted(
    _ operation: Operation, _ byteCount: Int, at file: DiskFile
  ) -> Operation {
    bytesInFlight.add(byteCount, operation.kind)
    guard trace.isRecording else { return operation }
    noteLevels()
    var operation = operation
    operation.traced = TracedTransfer(start: nanoseconds(), file: file)
    return operation
  }

  mutating func noteEnded(_ operation: Operation, _ byteCount: Int, hasFailed: Bool) {
    bytesInFlight.add(-byteCount, operation.kind)
    if trace.isRecording { noteLevels() }
    guard let traced = operation.traced else { return }
    trace.transfer(
      isRead: operation.kind == .read, operation.resident.block,
      planes: operation.first.rawValue...operation.last.rawValue, byteCount: byteCount,
      file: traced.file.index, hasFailed: hasFailed, from: traced.start, to: nanoseconds())
  }

  private func noteLevels() {
    trace.levels(
      bytesRead: bytesInFlight.read, bytesWritten: bytesInFlight.written,
      weightFrames: weights.framesInUse, stateFrames: state.framesInUse)
  }

  /// Transfers that the timeline lacks, since they have not ended.
  package var tracedTransfersInFlight: Int { operations.values.count { $0.traced != nil } }
}

extension FrameShelf {
  fileprivate var framesInUse: Int { pool.frameCount - pool.freeCount }
}

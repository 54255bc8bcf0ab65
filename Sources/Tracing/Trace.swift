package import Base

/// What the training thread notes its timeline with: a recorder, or nothing, which costs a branch.
package struct Trace: Sendable {
  package static let off = Trace(nil)

  private let recorder: TraceRecorder?

  package init(_ recorder: TraceRecorder?) { self.recorder = recorder }

  /// The recorder while it records.
  package var recording: TraceRecorder? {
    guard let recorder, recorder.isRecording else { return nil }
    return recorder
  }

  package var isRecording: Bool { recording != nil }

  /// Begins a span that lasts until its value ends.
  package func begin(
    _ name: TraceName, detail: UInt8 = 0, subject: Int64 = 0, amount: Int = 0
  ) -> TraceSpan {
    guard let recording else { return TraceSpan() }
    let now = nanoseconds()
    return TraceSpan(
      recording.training,
      TraceRecord(
        name, detail: detail, subject: subject, amount: amount, from: now, to: now))
  }

  /// A span around `body`.
  package func span<Result>(
    _ name: TraceName, _ body: () throws -> Result
  ) rethrows -> Result {
    let span = begin(name)
    let result = try body()
    span.end()
    return result
  }

  /// A span that is over.
  package func note(_ name: TraceName, subject: Int64 = 0, from start: UInt64, to end: UInt64) {
    recording?.training.append(TraceRecord(name, subject: subject, from: start, to: end))
  }

  /// The holder of a page has waited.
  package func stall(
    _ cause: StallCause, isUnplanned: Bool, for block: BlockID?, from start: UInt64,
    to end: UInt64
  ) {
    recording?.training.append(
      TraceRecord(
        isUnplanned ? .routerStall : .stall, detail: cause.rawValue,
        subject: block?.rawValue ?? -1, from: start, to: end))
  }

  /// A transfer that was submitted while the recorder was on has ended.
  /// - Parameter planes: one bit each.
  package func transfer(
    _ name: TraceName, subject: Int64, planes: UInt8 = 0, byteCount: Int, file: Int,
    hasFailed: Bool, from start: UInt64, to end: UInt64
  ) {
    recorder?.transfers.append(
      TraceRecord(
        name, detail: planes | (hasFailed ? TraceRecord.failedBit : 0),
        place: UInt16(clamping: file), subject: subject, amount: byteCount, from: start, to: end))
  }

  /// What is in flight and in use from now on.
  package func levels(bytesRead: Int, bytesWritten: Int, weightFrames: Int, stateFrames: Int) {
    recording?.levels.append(
      TraceRecord(
        .levels, subject: Int64(bytesRead), amount: bytesWritten, from: nanoseconds(),
        to: UInt64(weightFrames) << 32 | UInt64(stateFrames)))
  }
}

/// A span of the training thread that is under way. It ends with its value, at the latest.
package struct TraceSpan: ~Copyable {
  private let track: TraceTrack?
  private var record: TraceRecord

  fileprivate init() {
    track = nil
    record = TraceRecord(.step, from: 0, to: 0)
  }

  fileprivate init(_ track: TraceTrack, _ record: TraceRecord) {
    self.track = track
    self.record = record
  }

  deinit {
    guard let track else { return }
    var ended = record
    ended.end = nanoseconds()
    track.append(ended)
  }

  package consuming func end() {}
}

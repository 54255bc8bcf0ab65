import Base
import DirectIO
import Paging
import Tracing

/// What `--trace` asks for.
package struct TraceRequest: Sendable {
  package let path: String
  /// nil: the first steps of this process, `firstSteps` of them.
  package let steps: ClosedRange<Int>?

  package static let firstSteps = 5

  package init(path: String, steps: ClosedRange<Int>? = nil) {
    (self.path, self.steps) = (path, steps)
  }

  /// Finds out whether there can be such a file; what is there stays.
  /// - Throws: `TrainingError.cannotCreate`.
  func requireWritable() throws(TrainingError) {
    do throws(DiskError) {
      _ = try TraceFile(path)
    } catch {
      throw .cannotCreate(path: error.path, cause: error.remedy)
    }
  }
}

/// The timeline of some steps, from the recorder of this process into a file.
///
/// Records gather in memory while a step runs, and are written between two. A transfer that outlives
/// the last step belongs to the timeline: the file is finished when all of them have ended. A file
/// that cannot be written ends the timeline, not the run.
final class StepTrace {
  let recorder: TraceRecorder
  private let path: String
  private let steps: ClosedRange<Int>
  private let disk: any Disk
  private var drawing: TraceDrawing?
  private var file: TraceFile?
  private var isOver = false
  /// Whether a traced step has ended and another may follow.
  private var isBetween = false
  private var note: String?

  /// - Parameter next: the first step of this process.
  init(_ request: TraceRequest, _ capacity: TraceRecorder.Capacity, next: Int, _ disk: any Disk) {
    path = request.path
    steps = request.steps ?? next...next + TraceRequest.firstSteps - 1
    recorder = TraceRecorder(capacity)
    self.disk = disk
    if steps.upperBound < next {
      isOver = true
      note = "nothing is traced: the steps up to \(steps.upperBound) have been made already"
    }
  }

  /// What there is to say since the last call.
  func takeNote() -> String? {
    defer { note = nil }
    return note
  }

  func begin(step: Int) {
    guard !isOver, steps.contains(step) else { return }
    drawing = drawing ?? TraceDrawing(disk, origin: nanoseconds())
    recorder.isRecording = true
  }

  /// - Parameter inFlight: transfers of traced steps that have not ended.
  func end(step: Int, inFlight: Int) {
    recorder.isRecording = false
    isBetween = !isOver && steps.contains(step) && step < steps.upperBound
    guard !isOver, step >= steps.lowerBound else { return }
    write()
    if step >= steps.upperBound, inFlight == 0 { finish() }
  }

  /// Notes what happened between two traced steps since `start`.
  func noteBetween(_ name: TraceName, since start: UInt64) {
    guard isBetween else { return }
    recorder.training.append(TraceRecord(name, from: start, to: nanoseconds()))
  }

  /// Writes what is there and gives the file its name: the steps are over, or the run is.
  func finish() {
    guard !isOver else { return }
    recorder.isRecording = false
    if file != nil { write() }
    guard !isOver else { return }
    (isOver, isBetween) = (true, false)
    guard let file else {
      note = "nothing is traced: the run ends before step \(steps.lowerBound)"
      return
    }
    attempt { () throws(DiskError) in
      try file.finish()
      let dropped = recorder.dropped
      note =
        "the timeline is in \(path), for ui.perfetto.dev or chrome://tracing"
        + (dropped == 0 ? "" : "; it lacks \(dropped) events that found no room")
    }
    self.file = nil
  }

  private func write() {
    attempt { () throws(DiskError) in
      if file == nil { file = try TraceFile(path) }
      if let file { try drawing?.draw(recorder, into: file) }
    }
  }

  private func attempt(_ body: () throws(DiskError) -> Void) {
    do throws(DiskError) {
      try body()
    } catch {
      (isOver, isBetween, file) = (true, false, nil)
      recorder.isRecording = false
      note = "the timeline ends here: \(error)"
    }
  }
}
